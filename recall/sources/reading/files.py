"""Files of a source: which there are, when they changed, and their bytes out of a ZIP or folder."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path


def file_fingerprint(path: str | Path) -> str | None:
    """Return what changes whenever the file does, SQLite's log beside it included."""
    seen = []
    for file in (Path(path), Path(f"{path}-wal")):
        try:
            status = file.stat()
        except OSError:
            continue
        seen.append(f"{status.st_mtime_ns}.{status.st_size}")
    return "/".join(seen) or None


def modified(path: str | Path) -> datetime:
    """Return when the file was written last: the best guess for rows that carry no time."""
    return datetime.fromtimestamp(int(Path(path).stat().st_mtime), UTC)
