"""The command line. Nothing heavy is imported before a command needs it.

A module holds a group of commands; importing it adds them to the application.
"""

from __future__ import annotations

try:
    from recall.cli import asking, histories, keys_command, measuring, serving, upkeep
    from recall.cli.frame import app
except KeyboardInterrupt:  # Ctrl-C before there is anything that could catch it
    raise SystemExit(130) from None

__all__ = ["app", "asking", "histories", "keys_command", "measuring", "serving", "upkeep"]
