"""JSON Lines: recall's own form, one message or note a line."""

from __future__ import annotations

from typing import TYPE_CHECKING

from recall.sources.reading.content import parsed
from recall.sources.system import Signature, System

if TYPE_CHECKING:
    from recall.sources.system import TextFile


def _text(file: TextFile) -> str | None:
    first, _, _ = file.start.lstrip().partition(b"\n")
    line = parsed(first)
    if isinstance(line, dict) and ("content" in line or line.get("type") == "question"):
        return "Each line is a JSON with its content."
    return None


JSONL = System(
    name="jsonl",
    opens=f"{__name__}.json_lines:jsonl_history",
    options=("assume_tz",),
    text=Signature(1, _text),
)
