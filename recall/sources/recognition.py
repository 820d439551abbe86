"""What a file, a folder or a URL is, by what it holds and never by its name alone."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from recall.contract.errors import SourceUnreadable
from recall.sources.system import TextFile, Unrecognised
from recall.sources.systems import systems
from recall.sources.tables.databases import connected, is_url, origin_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from recall.sources.system import Signature, System

T = TypeVar("T")

PEEK = 1 << 20  # bytes at the start of a file of text, which tell its kind
_SQLITE = b"SQLite format 3\x00"
_BOM = b"\xef\xbb\xbf"


class Recognised(NamedTuple):
    """The name of a system, and a sentence on what was seen."""

    name: str
    why: str


def recognise(target: str) -> Recognised:
    """Return what `target` is; raises SourceUnreadable, with what was seen, when nothing tells."""
    try:
        return _recognised(target)
    except Unrecognised as error:
        raise SourceUnreadable(f"{error} Name the source: {', '.join(systems())}.") from error


def _recognised(target: str) -> Recognised:
    if is_url(target):
        return _database(target)
    if listed := next(_seen(target, lambda system: system.ids), None):
        return listed
    path = Path(target)
    if path.is_dir():
        return _folder(path)
    if not path.is_file():
        raise SourceUnreadable(f"There is no file or folder {target}.")
    with path.open("rb") as file:
        start = file.read(PEEK)
    if start.startswith(_SQLITE):
        return _database(target)
    if zipfile.is_zipfile(path):
        return _archive(path)
    return _text(TextFile(path, start.removeprefix(_BOM)))


def _seen(target: T, form: Callable[[System], Signature[T] | None]) -> Iterator[Recognised]:
    """Yield what `target` looks like, by the signatures of one form in the order of their ranks."""
    declared = [(form(system), system.name) for system in systems().values()]
    signatures = [(signature, name) for signature, name in declared if signature]
    for signature, name in sorted(signatures, key=lambda pair: pair[0].rank):
        if seen := signature.look(target):
            yield Recognised(name, seen)


def _database(target: str) -> Recognised:
    with connected(target) as database:
        catalog = database.catalog()
    fitting = list(_seen(catalog, lambda system: system.tables))
    if len(fitting) == 1:
        return Recognised(fitting[0].name, f"The database has {fitting[0].why}.")
    origin = origin_of(target)
    if fitting:
        several = "; ".join(f"{name}: {why}" for name, why in fitting)
        raise Unrecognised(f"{origin} looks like several sources ({several}).")
    shown = ", ".join(table.path for table in catalog.tables[:20]) or "no tables"
    raise Unrecognised(f"{origin} has {shown}, which no source knows; sql reads any of them.")


def _folder(path: Path) -> Recognised:
    if recognised := next(_seen(path, lambda system: system.folder), None):
        return recognised
    names = ", ".join(sorted(file.name for file in path.iterdir())[:20]) or "nothing"
    raise Unrecognised(f"The folder {path} has {names}.")


def _archive(path: Path) -> Recognised:
    if recognised := next(_seen(path, lambda system: system.archive), None):
        return recognised
    raise Unrecognised(f"The ZIP {path} is no export that a source knows.")


def _text(file: TextFile) -> Recognised:
    if recognised := next(_seen(file, lambda system: system.text), None):
        return recognised
    shown = file.start[:60].decode("utf-8", "replace").split("\n")[0]
    seen = "of no source" if file.is_json else "neither a database, nor a ZIP, nor JSON"
    raise Unrecognised(f"{file.path} is {seen}; it begins {shown!r}.")
