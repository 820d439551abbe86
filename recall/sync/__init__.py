"""Histories brought in, once or as they go on."""
