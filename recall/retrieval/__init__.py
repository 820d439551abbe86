"""From a question to an answer: evidence, scores, hits."""
