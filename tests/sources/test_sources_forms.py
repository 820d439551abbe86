"""Recall's own lines, queries, recognition, and the parts that all sources are made of."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from sources_reading import database, read

import recall
from recall.contract.errors import SourceUnreadable
from recall.contract.values import Message, Note
from recall.sources.opening import open_source
from recall.sources.reading.clock import instant, stamp, zone
from recall.sources.reading.rows import LONGEST_KEY, Skip, items_of, key_of
from recall.sources.reading.steps import Bookmark, Step, resumed
from recall.sources.reason import Reason
from recall.sources.recognition import recognise
from recall.sources.source import Found, Skipped
from recall.sources.systems import systems
from recall.sources.systems.jsonl.json_lines import JsonLines
from recall.sources.tables.databases import origin_of

if TYPE_CHECKING:
    from collections.abc import Iterator


def test_recalls_own_sample_is_read_whole() -> None:
    path = Path(recall.__file__).parent / "runtime" / "sample.jsonl"
    reading = read(open_source(str(path)), positions=10)
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert [m.key for m in reading.memories] == [line["key"] for line in lines]
    assert reading.texts == [line["content"] for line in lines]
    assert reading.messages[0].session_title == lines[0]["session_title"]


def lines(path: Path, *entries: Any, end: str = "\n") -> str:
    texts = [e if isinstance(e, str) else json.dumps(e) for e in entries]
    path.write_bytes(("\n".join(texts) + end).encode("utf-8", "surrogatepass"))
    return str(path)


def test_a_line_is_a_memory_or_is_counted(tmp_path: Path) -> None:
    path = lines(
        tmp_path / "a.jsonl",
        {"type": "message", "session_id": "s", "role": "user", "content": "one", "key": "k1"},
        "",
        {"session_id": "s", "role": "user", "content": "no type", "created_at": 1700000000},
        {"content": "a note", "title": "T", "tags": ["x"], "metadata": {"source": "mine"}},
        {"type": "question", "query": "?"},
        {"type": "else", "content": "x"},
        "{not json",
        "[1]",
        {"type": "message", "content": "no session"},
        {"type": "note", "content": "half a pair \ud800 and \x00"},
        {"type": "note", "content": "odd", "metadata": "no object", "created_at": "never"},
        end="",
    )
    reading = read(open_source(path))
    assert reading.texts == ["one", "no type", "a note", "half a pair \ufffd and ", "odd"]
    assert reading.skipped == {
        "question": 1,
        "unknown type": 1,
        "not JSON": 1,
        "not an object": 1,
        "bad value": 1,
    }
    one, typeless, note, *_, odd = reading.memories
    assert one.key == "k1" and one.metadata["time_estimated"] is True
    assert isinstance(typeless, Message) and typeless.created_at == instant(1700000000)
    assert isinstance(note, Note) and note.metadata["tags"] == ["x"]
    assert note.metadata["source"] == "mine" and odd.metadata["source"] == "jsonl"


def test_a_line_without_a_key_has_the_same_one_wherever_it_stands(tmp_path: Path) -> None:
    first, second = {"content": "a"}, {"content": "b"}
    one = list(open_source(lines(tmp_path / "a.jsonl", first, second)).ids())
    two = list(open_source(lines(tmp_path / "b.jsonl", second, first)).ids())
    assert one == two[::-1] and len(set(one)) == 2


def test_a_line_without_end_is_skipped_unread(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("recall.sources.systems.jsonl.json_lines.LONGEST_LINE", 64)
    path = lines(tmp_path / "a.jsonl", {"content": "x" * 500}, {"content": "short"})
    reading = read(open_source(path, "jsonl"))
    assert (reading.texts, reading.skipped) == (["short"], {"line too long": 1})


def test_lines_that_are_appended_are_behind_the_position(tmp_path: Path) -> None:
    path = lines(tmp_path / "a.jsonl", {"content": "one"})
    source = open_source(path)
    *_, last = source.read()
    with Path(path).open("a") as file:
        file.write('\ufeff{"content": "two"}\n')
    assert [i.memory.content for i in source.read(last.position) if isinstance(i, Found)] == ["two"]


def test_a_query_needs_content_and_takes_what_it_knows(tmp_path: Path) -> None:
    path = database(
        tmp_path / "a.db",
        "create table log (n integer, line text, tags text)",
        rows={"log": [(n, f"line {n}", '{"t": 1}') for n in range(1, 8)]},
    )
    query = "select n as key, line as content, tags as metadata, 'x' as title, n % 2 odd from log"
    reading = read(open_source(path, "sql", query=query))
    note = reading.memories[0]
    assert isinstance(note, Note) and note.key == "sql:a.log:1"
    assert (note.title, note.metadata) == (
        "x",
        {"source": "sql", "time_estimated": True, "odd": 1, "t": 1},
    )
    named = open_source(path, "sql", query=query, prefix="mine")
    assert next(named.ids()) == "sql:mine:1"
    with pytest.raises(SourceUnreadable, match="no column `content`; it has n"):
        list(open_source(path, "sql", query="select n from log").read())
    with pytest.raises(SourceUnreadable, match="needs a query"):
        open_source(path, "sql", query="delete from log")
    with pytest.raises(SourceUnreadable, match="no such table"):
        list(open_source(path, "sql", query="select content from gone").read())


UNKNOWN = [
    ("notes.txt", b"just words", "begins 'just words'"),
    ("other.json", b'[{"a": 1}]', "whose first conversation has fields a"),
    ("other.json", b"[]", "nothing known"),
    ("broken.json", b'{"mapping": ', "JSON"),
    ("empty.json", b"", "begins ''"),
    ("a.zip", b"PK\x05\x06" + bytes(18), "no conversations.json"),
    ("a.db", b"SQLite format 3\x00" + bytes(100), "cannot be read|no tables"),
]


@pytest.mark.parametrize(("name", "content", "why"), UNKNOWN)
def test_what_cannot_be_told_is_said(name: str, content: bytes, why: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(SourceUnreadable, match=why):
        recognise(str(tmp_path / name))


def test_an_unknown_database_names_what_it_has(tmp_path: Path) -> None:
    path = database(tmp_path / "a.db", "create table invoices (id int)")
    with pytest.raises(
        SourceUnreadable,
        match=r"has invoices, .* Name the source: chatgpt, chatkit, ",
    ):
        recognise(path)


def test_a_database_of_two_systems_asks_for_the_name(tmp_path: Path) -> None:
    path = database(
        tmp_path / "a.db",
        "create table sessions (id text, title text)",
        "create table messages (id int, session_id text, role text, content text)",
        "create table agent_messages (id int, session_id text, message_data text)",
    )
    with pytest.raises(SourceUnreadable, match="looks like several sources"):
        recognise(path)
    assert open_source(path, "openzess").count() == 0


@pytest.mark.parametrize("name", [n for n in systems() if n != "openai"])
def test_a_file_that_is_not_there_is_said(name: str, tmp_path: Path) -> None:
    options = {"query": "select 1 as content"} if name == "sql" else {}
    with pytest.raises(SourceUnreadable, match="There is no"):
        list(open_source(str(tmp_path / "gone.db"), name, **options).read())
    with pytest.raises(SourceUnreadable, match="There is no"):
        recognise(str(tmp_path / "gone.db"))


def test_names_and_options_that_do_not_exist_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SourceUnreadable, match="no source 'slack'; choose one of chatgpt, chatkit"):
        open_source("x", "slack")
    with pytest.raises(SourceUnreadable, match="no option zone; it takes assume_tz"):
        open_source("x", "jsonl", zone="UTC")
    with pytest.raises(SourceUnreadable, match="no time zone"):
        open_source(lines(tmp_path / "a.jsonl", {}), "jsonl", assume_tz="Mars/Olympus")


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("2026-11-20T23:18:26.123456789Z", "2026-11-20T23:18:26.123456+00:00"),
        ("2026-11-20T23:18:26Z", "2026-11-20T23:18:26+00:00"),
        ("2026-11-20 23:18:26.1", "2026-11-20T22:18:26.100000+00:00"),
        ("2026-11-20 23:18:26.1+00", "2026-11-20T23:18:26.100000+00:00"),
        (1795216321.5, "2026-11-20T23:12:01.500000+00:00"),
        (1795216321500, "2026-11-20T23:12:01.500000+00:00"),
        ("1795216321.5", "2026-11-20T23:12:01.500000+00:00"),
        (datetime(2026, 11, 20, 23, 12), "2026-11-20T22:12:00+00:00"),
    ],
)
def test_times_are_read_as_they_were_meant(written: Any, expected: str) -> None:
    time = instant(written, zone("Europe/Berlin"))
    assert time and time.astimezone(UTC).isoformat() == expected


@pytest.mark.parametrize(
    "written",
    [
        "0001-01-01T00:00:00Z",
        "",
        "soon",
        None,
        True,
        0,
        float("nan"),
        float("inf"),
        1e300,
        [1],
        "9999-12-31",
    ],
)
def test_what_is_no_time_is_none(written: Any) -> None:
    assert instant(written) is None
    assert stamp(written) == "-"


def test_keys_are_bounded_and_stay_different() -> None:
    one, two = (key_of("x", "s" * 400, end) for end in "ab")
    assert one != two and len(one) == len(two) == LONGEST_KEY
    assert key_of("x", "a", 1) == "x:a/1"


def test_metadata_that_is_too_large_loses_its_largest_fact_and_says_so() -> None:
    (note,) = items_of(
        Note, "k", "text", metadata={"big": "x" * 20_000, "small": [1], "none": None}
    )
    assert isinstance(note, Note) and note.metadata == {"small": [1], "cut": True}


@pytest.mark.parametrize(
    ("position", "next_read", "last_step"),
    [
        (None, "10a", None),
        (10, "20a", 10),
        ({"after": 10, "within": 20, "done": 2}, "20c", 20),
        ({"after": 10, "within": 19, "done": 2}, "20a", 19),
    ],
)
def test_a_position_says_what_is_read_next(position: Any, next_read: str, last_step: Any) -> None:
    def steps(after: int | None) -> Iterator[Step]:
        for number in (10, 20, 30):
            if number > (after or 0):
                yield Step(number, [[Skip(Reason.EMPTY, f"{number}{letter}")] for letter in "abc"])

    items = list(resumed(steps, position))
    assert isinstance(items[0], Skipped) and items[0].where == next_read
    assert [item.position for item in items[-3:-1]] == [
        {"after": 20, "within": 30, "done": done} for done in (1, 2)
    ]
    bookmark = Bookmark.of(position)
    assert (bookmark.position, bookmark.step) == (position, last_step)


def test_a_position_inside_a_step_that_is_gone_leaves_nothing_of_the_next_out() -> None:
    def steps(after: int | None) -> Iterator[Step]:
        for number in (1, 2, 3):
            if number > (after or 0) and number not in missing:
                yield Step(number, [[Skip(Reason.EMPTY, f"{number}{letter}")] for letter in "abc"])

    missing: set[int] = set()
    items = list(resumed(steps, None))
    missing = {2}
    places = [i.where for i in resumed(steps, items[4].position) if not isinstance(i, Found)]
    assert places == ["3a", "3b", "3c"]


def test_a_url_is_told_without_its_secrets() -> None:
    url = "mysql+pymysql://ann:secret@db:3306/chat?ssl=1"
    assert origin_of(url) == "mysql://db:3306/chat"
    assert repr(JsonLines(Path("a"), UTC)).find("secret") == -1
