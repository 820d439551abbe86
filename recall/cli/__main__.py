"""`python -m recall.cli`."""

from recall.cli import app

app()
