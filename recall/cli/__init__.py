"""The command line. Nothing heavy is imported before a command needs it.

A module holds a group of commands; importing it adds them to the application.
"""

from __future__ import annotations

from recall.cli import asking, histories, keys, measuring, serving, upkeep
from recall.cli.frame import app

__all__ = ["app", "asking", "histories", "keys", "measuring", "serving", "upkeep"]
