"""Exports that vendors hand out on request: ChatGPT's and Claude's.

An export is of one day and often of a part: what is missing from it was not taken back.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from recall.sources.reading.content import mapping
from recall.sources.system import Signature, System, Unrecognised

if TYPE_CHECKING:
    from pathlib import Path

    from recall.sources.system import TextFile

#: The field that only a vendor's conversations have.
_VENDORS = {"mapping": "ChatGPT", "chat_messages": "Claude"}


def _conversations(vendor: str, form: str, path: Path) -> str | None:
    """Return what is seen of a vendor's conversations; raises Unrecognised for nobody's."""
    from recall.sources.systems.exports.export_files import conversations, members

    member = members(path)[0]
    first: Any = next(conversations(path, member), None)
    fields = mapping(first).keys()
    own = next((name for field, name in _VENDORS.items() if field in fields), None)
    if own is None:
        shown = f"fields {', '.join(list(fields)[:20])}" if fields else "nothing known"
        raise Unrecognised(f"{form} {path} has {member}, whose first conversation has {shown}.")
    return f"{form} has conversations of {own} in {member}." if own == vendor else None


def _folder(vendor: str, path: Path) -> str | None:
    listed = any(path.glob("conversations*.json"))
    return _conversations(vendor, "The folder", path) if listed else None


def _text(vendor: str, file: TextFile) -> str | None:
    return _conversations(vendor, "The JSON", file.path) if file.is_json else None


CHATGPT = System(
    name="chatgpt",
    opens=f"{__name__}.chatgpt:chatgpt_history",
    options=("include_hidden",),
    folder=Signature(1, partial(_folder, "ChatGPT")),
    archive=Signature(1, partial(_conversations, "ChatGPT", "The ZIP")),
    text=Signature(5, partial(_text, "ChatGPT")),
)
CLAUDE = System(
    name="claude",
    opens=f"{__name__}.claude:claude_history",
    options=("include_hidden",),
    folder=Signature(1, partial(_folder, "Claude")),
    archive=Signature(1, partial(_conversations, "Claude", "The ZIP")),
    text=Signature(5, partial(_text, "Claude")),
)
