"""From a stored memory to the chunks that are looked at: words, pieces, queue, worker, graph."""
