"""The command line. Nothing heavy is imported before a command needs it.

A module holds a command; importing it adds the command to the application.
"""

from __future__ import annotations

try:
    from recall.cli import (
        backfill_command,
        bench_command,
        chaos_command,
        doctor_command,
        eval_command,
        follow_command,
        keys_command,
        language_command,
        migrate_command,
        retry_command,
        search_command,
        serve_command,
        status_command,
        worker_command,
    )
    from recall.cli.frame import app
except KeyboardInterrupt:  # Ctrl-C before there is anything that could catch it
    raise SystemExit(130) from None

__all__ = [
    "app",
    "backfill_command",
    "bench_command",
    "chaos_command",
    "doctor_command",
    "eval_command",
    "follow_command",
    "keys_command",
    "language_command",
    "migrate_command",
    "retry_command",
    "search_command",
    "serve_command",
    "status_command",
    "worker_command",
]
