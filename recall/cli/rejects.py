"""The file of skipped rows: a line of JSON for each, with the reason and where the row stands."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from pathlib import Path

    from recall.sources.source import Skipped


class Rejects:
    """The file of skipped rows: what a resumed run had committed, and what it skips itself."""

    def __init__(self, path: Path, kept: int) -> None:
        self._path = path
        self._kept = kept
        self._file: Any = None

    def __enter__(self) -> Self:
        if self._path.is_file():
            # Lines of a batch that was never committed will be written again.
            with self._path.open("rb") as file:
                lines = [line for line, _ in zip(file, range(self._kept), strict=False)]
            self._path.write_bytes(b"".join(lines))
        return self

    def __exit__(self, *_: object) -> None:
        if self._file:
            self._file.close()

    def add(self, row: Skipped) -> None:
        """Write one row down; the file is made for the first."""
        if self._file is None:
            self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            # Rows of somebody's history: for this user's eyes.
            opened = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
            self._file = os.fdopen(opened, "a", encoding="utf-8", buffering=1)
        facts = {"reason": row.reason, "where": row.where, "detail": row.detail}
        self._file.write(json.dumps(facts) + "\n")
