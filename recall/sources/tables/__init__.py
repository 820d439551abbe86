"""Sources that lie in tables: what a database has, read page by page, in three dialects."""
