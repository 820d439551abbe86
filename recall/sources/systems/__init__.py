"""A folder a system: what it keeps and how that reads as memories."""
