"""Histories that lie elsewhere, read as recall's own values."""
