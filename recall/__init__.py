"""Semantic recall on Postgres: find any message or note of an agent again."""

__version__ = "0.1.0"
