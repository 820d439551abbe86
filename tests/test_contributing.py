"""CONTRIBUTING.md knows the rooms, the files of the journeys, and the words."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from test_layers import ROOMS

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
CODE = "\n".join(
    file.read_text(encoding="utf-8")
    for folder, ending in (("recall", "*.py"), ("sql", "*.sql"))
    for file in sorted((ROOT / folder).rglob(ending))
).lower()
#: Words that the code uses in two files or more, and that a newcomer would have to ask about.
HIDDEN = (
    *("bell", "caller", "candidate", "chapter", "claim", "context", "digest", "duty"),
    *("evidence", "right", "sender"),
    *("exact", "fault", "front", "head", "heartbeat", "keeper", "lane", "lease", "ledger"),
    *("lexeme", "mark", "neighbour", "news", "owner", "parked", "part", "pass", "piece", "place"),
    *("position", "recipe", "register", "ring", "slot", "stand", "step", "system"),
    *("tally", "thread", "token", "turn", "twin", "unit", "bookmark", "signature", "entry"),
    *("sweep", "tail"),
)
#: The words of the contract: design and wire have them too.
OPEN = (
    *("answer", "chunk", "hit", "job", "key", "leg", "memory", "profile", "scope", "session"),
    *("source", "tenant"),
)


def rows(heading: str) -> list[list[str]]:
    """Return the cells of the table below a heading, its own two lines aside."""
    section = PAGE.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def test_every_room_stands_on_its_floor() -> None:
    floors = {
        room: str(floor) for floor, rooms in enumerate(ROOMS, 1) for room in rooms - {"__main__"}
    }
    assert {room.strip("`"): floor for floor, room, _ in rows("The rooms")} == floors


def test_the_glossary_has_every_word_once_and_in_order() -> None:
    words = [word for word, _ in rows("Glossary")]
    assert words == sorted({*HIDDEN, *OPEN})


@pytest.mark.parametrize("word", [word for word, _ in rows("Glossary")])
def test_a_word_of_the_glossary_is_a_word_of_the_code(word: str) -> None:
    assert re.search(rf"\b{word}", CODE)


@pytest.mark.parametrize(
    "path", sorted(set(re.findall(r"`((?:recall|sql|tests)/[a-z_./]+)`", PAGE)))
)
def test_a_path_that_is_named_exists(path: str) -> None:
    assert (ROOT / path).exists()


@pytest.mark.parametrize("target", sorted(set(re.findall(r"`make ([\w-]+)", PAGE))))
def test_a_target_of_make_that_is_named_exists(target: str) -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert re.search(rf"^{target}:", makefile, re.MULTILINE)
