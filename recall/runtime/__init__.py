"""What runs together in one process."""
