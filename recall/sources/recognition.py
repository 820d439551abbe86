"""What a file, a folder or a URL is, told from what it holds and never from its name alone."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from recall.contract.errors import SourceUnreadable
from recall.sources.kinds import MODULES, module_of
from recall.sources.reading.content import mapping, parsed
from recall.sources.tables.databases import connected, is_url, origin_of

if TYPE_CHECKING:
    from recall.sources.tables.catalog import Catalog

#: The sources that lie in tables; those that ask for the rarest columns first.
TABLES = ("praisonai", "openai-agents", "moltnet", "langgraph", "chatkit", "openzess")
PEEK = 1 << 20  # bytes at the start of a JSON that tell its kind


class Recognised(NamedTuple):
    """The name of a source, and a sentence on what was seen."""

    name: str
    why: str


def recognise(target: str) -> Recognised:
    """Return what `target` is; SourceUnreadable says what was seen when that does not tell."""
    if is_url(target):
        return _database(target)
    if target.startswith(("conv_", '["conv_')):
        return Recognised("openai", "These are ids of OpenAI conversations.")
    path = Path(target)
    if path.is_dir():
        return _folder(path)
    if not path.is_file():
        raise SourceUnreadable(f"There is no file or folder {target}.")
    with path.open("rb") as file:
        start = file.read(PEEK)
    if start.startswith(b"SQLite format 3\x00"):
        return _database(target)
    if zipfile.is_zipfile(path):
        return _export(path, "The ZIP")
    return _text(path, start.removeprefix(b"\xef\xbb\xbf"))


def _unknown(seen: str) -> SourceUnreadable:
    return SourceUnreadable(f"{seen} Name the source: {', '.join(MODULES)}.")


def _database(target: str) -> Recognised:
    with connected(target) as database:
        catalog = database.catalog()
    found = _fitting(catalog)
    if len(found) == 1:
        name, why = found[0]
        return Recognised(name, f"The database has {why}.")
    place = origin_of(target)
    if found:
        seen = "; ".join(f"{name}: {why}" for name, why in found)
        raise _unknown(f"{place} looks like several sources ({seen}).")
    shown = ", ".join(table.path for table in catalog.tables[:20]) or "no tables"
    raise _unknown(f"{place} has {shown}, which no source knows; sql reads any of them.")


def _fitting(catalog: Catalog) -> list[tuple[str, str]]:
    fitting = ((name, module_of(name).fits(catalog)) for name in TABLES)
    return [(name, why) for name, why in fitting if why]


def _folder(path: Path) -> Recognised:
    from recall.sources.systems.praisonai.praisonai_sessions import INDEX, is_session, session_files

    if any(path.glob("conversations*.json")):
        return _export(path, "The folder")
    if (path / INDEX).is_file():
        return Recognised("praisonai", f"The folder has PraisonAI's {INDEX}.")
    for file in sorted(session_files(path))[:20]:
        if is_session(mapping(parsed(file.read_bytes()))):
            return Recognised("praisonai", f"The folder has sessions of PraisonAI ({file.name}).")
    names = ", ".join(sorted(file.name for file in path.iterdir())[:20]) or "nothing"
    raise _unknown(f"The folder {path} has {names}.")


def _export(path: Path, what: str) -> Recognised:
    from recall.sources.systems.exports.export_files import conversations, members

    member = members(path)[0]
    first: Any = next(conversations(path, member), None)
    fields = mapping(first).keys()
    for field, name, vendor in (
        ("mapping", "chatgpt", "ChatGPT"),
        ("chat_messages", "claude", "Claude"),
    ):
        if field in fields:
            return Recognised(name, f"{what} has conversations of {vendor} in {member}.")
    shown = f"fields {', '.join(list(fields)[:20])}" if fields else "nothing known"
    raise _unknown(f"{what} {path} has {member}, whose first conversation has {shown}.")


def _text(path: Path, start: bytes) -> Recognised:
    """Recognise a file of text: a line of JSON first, then a JSON of several lines."""
    first, _, _ = start.lstrip().partition(b"\n")
    line = parsed(first)
    if isinstance(line, dict) and ("content" in line or line.get("type") == "question"):
        return Recognised("jsonl", "Each line is a JSON with its content.")
    if b"conv_" in start and b'"mapping"' not in start and b"chat_messages" not in start:
        from recall.sources.systems.openai.openai_conversations import conversations as listed

        if listed(str(path)):
            return Recognised("openai", "The file lists ids of OpenAI conversations.")
    if not start.lstrip().startswith((b"{", b"[")):
        shown = start[:60].decode("utf-8", "replace").split("\n")[0]
        raise _unknown(f"{path} is neither a database, nor a ZIP, nor JSON; it begins {shown!r}.")
    if (b'"room_messages"' in start or b'"rooms"' in start) and _is_moltnet(path):
        return Recognised("moltnet", "The JSON is a store of Moltnet.")
    if b'"messages"' in start or b'"session_id"' in start:
        from recall.sources.systems.praisonai.praisonai_sessions import is_session

        if is_session(mapping(parsed(path.read_bytes()))):
            return Recognised("praisonai", "The JSON is a session of PraisonAI.")
    return _export(path, "The JSON")


def _is_moltnet(path: Path) -> bool:
    from recall.sources.systems.moltnet.moltnet_json import is_store

    return is_store(mapping(parsed(path.read_bytes())))
