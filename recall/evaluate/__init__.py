"""Measuring what recall finds, on anybody's evaluation set, through the path that answers."""
