"""`python -m recall`."""

from recall.cli import app

app()
