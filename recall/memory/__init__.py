"""The truth: memories and sessions, whose they are, who may ask for them, and forgetting."""
