"""A new system is one folder: it is recognised, read and followed without any other file."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import pytest

from recall.sources import systems as package
from recall.sources.opening import open_source
from recall.sources.recognition import Recognised, recognise
from recall.sync import sweep
from recall.sync.backfill import backfill
from recall.sync.follow import Follower
from recall.sync.followed import Followed
from recall.sync.intake import News

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import psycopg

    from recall.database.caller import Caller
    from recall.database.units import Database

pytestmark = pytest.mark.anyio

DECLARATION = '''
"""A diary: a line a day."""

from recall.sources.system import Signature, System


def _text(file):
    return "The file is a diary." if file.start.startswith(b"Dear diary") else None


DIARY = System(
    name="diary",
    opens=f"{__name__}.diary_lines:diary_history",
    options=("author",),
    text=Signature(1, _text),
)
'''
READER = """
from pathlib import Path

from recall.contract.values import Note
from recall.sources.reading.files import file_fingerprint
from recall.sources.reading.rows import key_of, items_of
from recall.sources.reading.steps import Step, keys, resumed
from recall.sources.systems.diary import DIARY


def diary_history(target, *, author="nobody"):
    return Diary(Path(target), author)


class Diary:
    system = DIARY

    def __init__(self, path, author):
        self.path, self.author, self.origin = path, author, str(path)

    def count(self):
        return len(self.path.read_text().splitlines()) - 1

    def read(self, after=None):
        return resumed(self.steps, after)

    def steps(self, after):
        for number, line in enumerate(self.path.read_text().splitlines()[1:], 1):
            if number > (after or 0):
                key = key_of("diary", line)
                yield Step(number, [items_of(Note, key, line, metadata={"author": self.author})])

    def rewind(self, position):
        return position

    def fingerprint(self):
        return file_fingerprint(self.path)

    def ids(self):
        return keys(self.read())
"""


@pytest.fixture(params=[False, True], ids=["keeps", "erases"])
def erases(request: pytest.FixtureRequest) -> bool:
    """Whether the system declares that what is gone was taken back; by default it was not."""
    return bool(request.param)


@pytest.fixture
def diary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, erases: bool) -> Iterator[Path]:
    """A file of a system that is declared in a folder elsewhere."""
    folder = tmp_path / "more" / "diary"
    folder.mkdir(parents=True)
    declared = DECLARATION.replace(
        "    opens=", "    erases=True,\n    opens=" if erases else "    opens="
    )
    (folder / "__init__.py").write_text(declared)
    (folder / "diary_lines.py").write_text(READER)
    monkeypatch.setattr(package, "__path__", [*package.__path__, str(folder.parent)])
    path = tmp_path / "diary.txt"
    write(path, "it rained", "", "the harbour was closed")
    yield path
    for name in [name for name in sys.modules if name.startswith(f"{package.__name__}.diary")]:
        del sys.modules[name]


def write(path: Path, *lines: str) -> None:
    path.write_text("\n".join(["Dear diary,", *lines, ""]))


async def test_a_new_system_is_one_folder(
    database: Database,
    caller: Caller,
    owner: psycopg.Connection[Any],
    diary: Path,
    erases: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sweep, "SETTLE", 0.0)
    monkeypatch.setattr(sweep, "PASS_SHARE", 0)
    assert recognise(str(diary)) == Recognised("diary", "The file is a diary.")
    tally = await backfill(database, caller, open_source(str(diary), author="ann"))
    assert (tally.stored, tally.skipped) == (2, {"empty": 1})
    follower = Follower(database, caller, Followed(str(diary), options={"author": "ann"}))
    assert not await follower.look()
    write(diary, "it rained", "", "the harbour was closed", "the kitchen was warm")
    assert await follower.look() == News(stored=1)
    assert not await follower.look()
    write(diary, "the kitchen was warm")
    assert await follower.look() == News(erased=2 if erases else 0)
    left = owner.execute("select count(*) from memory").fetchall()
    assert left == [(1 if erases else 3,)]
