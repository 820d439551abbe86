"""Moltnet."""
