"""OpenZess."""
