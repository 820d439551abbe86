"""ChatGPT's and Claude's exports: archives, split files, trees, and what old and new ones lack."""

from __future__ import annotations

import json
import zipfile
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from made_exports import BRANCHES, ROOT, claude, node, said, talk, written
from sources_reading import read

from recall.contract.errors import SourceUnreadable
from recall.sources.opening import open_source
from recall.sources.recognition import recognise

if TYPE_CHECKING:
    from pathlib import Path


def test_the_active_path_is_read_and_branches_are_counted(tmp_path: Path) -> None:
    path = written(tmp_path / "conversations.json", talk(*BRANCHES, current_node="a2"))
    assert recognise(path).name == "chatgpt"
    reading = read(open_source(path))
    assert [(m.role, m.content) for m in reading.messages] == [
        ("user", "second try"),
        ("assistant", "answer two"),
    ]
    assert reading.skipped == {"system prompt": 1, "other branch": 2}
    answer = reading.messages[1]
    assert answer.key == "chatgpt:c/a2" and answer.session_title == "A talk"
    assert answer.created_at == datetime(2023, 11, 14, 22, 13, 22, 1000, UTC)
    assert answer.metadata["time_estimated"] is True


def test_without_a_current_node_the_newest_leaf_is_active(tmp_path: Path) -> None:
    path = written(tmp_path / "c.json", talk(*BRANCHES))
    assert read(open_source(path)).texts == ["first try", "answer one"]


def test_cycles_and_missing_parents_end_a_path(tmp_path: Path) -> None:
    cycle = talk(node("a", "b", "x"), node("b", "a", "y"), current_node="a", id="1")
    orphan = talk(node("a", "nowhere", "z"), current_node="gone", id="2")
    reading = read(open_source(written(tmp_path / "c.json", cycle, orphan)))
    assert reading.texts == ["y", "x", "z"]


CONTENTS: list[tuple[Any, dict[str, Any], str | None]] = [
    (
        {"content_type": "code", "language": "python", "text": "print(1)"},
        {"recipient": "python"},
        "print(1)",
    ),
    (
        {"content_type": "execution_output", "text": "1"},
        {"author": {"role": "tool", "name": "python"}},
        "1",
    ),
    (
        {
            "content_type": "multimodal_text",
            "parts": [
                {"content_type": "image_asset_pointer", "asset_pointer": "file://x"},
                "look",
                {"content_type": "audio_transcription", "text": "said"},
            ],
        },
        {},
        "look\nsaid",
    ),
    (
        {"content_type": "tether_quote", "url": "https://e.org", "title": "T", "text": "body"},
        {},
        "T\nhttps://e.org\nbody",
    ),
    ({"content_type": "tether_browsing_display", "result": "found"}, {}, "found"),
    ({"content_type": "system_error", "name": "E", "text": "failed"}, {}, "failed"),
    (
        {
            "content_type": "text",
            "parts": ["so \ue200cite\ue202turn0search1\ue201it is【4†source】, 【重要】"],
        },
        {},
        "so it is, 【重要】",
    ),
    ({"content_type": "new_thing", "content": "text all the same"}, {}, "text all the same"),
    (
        {"content_type": "text", "parts": ["see"]},
        {"metadata": {"attachments": [{"name": "a.pdf"}]}},
        "see\na.pdf",
    ),
    ({"content_type": "thoughts", "thoughts": [{"summary": "hm", "content": "hm"}]}, {}, None),
    ({"content_type": "reasoning_recap", "content": "Thought for 3s"}, {}, None),
    ({"content_type": "user_editable_context", "user_profile": "I am Ann"}, {}, None),
    ({"content_type": "text", "parts": ["hidden"]}, {"weight": 0.0}, None),
    (
        {"content_type": "text", "parts": ["hidden"]},
        {"metadata": {"is_visually_hidden_from_conversation": True}},
        None,
    ),
    ({"content_type": "text", "parts": [""]}, {}, None),
    (
        {"content_type": "multimodal_text", "parts": [{"content_type": "image_asset_pointer"}]},
        {},
        None,
    ),
]


@pytest.mark.parametrize(("content", "more", "expected"), CONTENTS)
def test_each_content_is_read_for_its_text(
    content: Any, more: dict[str, Any], expected: str | None, tmp_path: Path
) -> None:
    path = written(tmp_path / "c.json", talk(node("a", None, content, **more), current_node="a"))
    reading = read(open_source(path))
    assert reading.texts == ([] if expected is None else [expected])
    assert reading.rows == 1


def test_what_was_not_to_be_remembered_is_not(tmp_path: Path) -> None:
    shy = talk(*BRANCHES, current_node="a2", is_do_not_remember=True)
    empty = talk(id="e")
    path = written(tmp_path / "c.json", shy, empty, 7, None)
    reading = read(open_source(path, "chatgpt"))
    assert reading.skipped == {"do not remember": 5, "empty conversation": 1, "not an object": 2}


def test_times_that_are_missing_everywhere_are_the_files(tmp_path: Path) -> None:
    bare = talk(node("a", None, "hi"), current_node="a", create_time=None, title=None)
    del bare["id"]
    path = written(tmp_path / "c.json", bare)
    (message,) = read(open_source(path)).messages
    assert (message.session_id, message.key) == ("a", "chatgpt:a/a")
    assert message.created_at and message.created_at.year >= 2024


def test_split_files_of_an_archive_are_read_in_order(tmp_path: Path) -> None:
    path = tmp_path / "export.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for number in (10, 2, 0):
            one = talk(node("a", None, f"file {number}"), current_node="a", id=f"c{number}")
            archive.writestr(f"conversations-{number:03}.json", "\ufeff" + json.dumps([one]))
        archive.writestr("user.json", json.dumps({"id": "user-1", "email": "ann@example.org"}))
        archive.writestr("shared_conversations.json", "[]")
    assert recognise(str(path)).name == "chatgpt"
    reading = read(open_source(str(path)))
    assert reading.texts == ["file 0", "file 2", "file 10"]
    assert {m.user_id for m in reading.messages} == {"user-1"}
    assert "ann@example.org" not in str(reading.items)
    with zipfile.ZipFile(path) as archive:
        archive.extractall(tmp_path / "unpacked")
    unpacked = open_source(str(tmp_path / "unpacked"))
    assert list(unpacked.ids()) == list(open_source(str(path)).ids())


@pytest.mark.parametrize("shape", ["array", "wrapped", "single"])
def test_an_export_has_any_of_three_shapes(shape: str, tmp_path: Path) -> None:
    one = talk(*BRANCHES, current_node="a2")
    shaped = {"array": [one], "wrapped": {"version": {"a": [1]}, "conversations": [one]}}.get(
        shape, one
    )
    path = tmp_path / "any name.json"
    path.write_text(json.dumps(shaped))
    assert recognise(str(path)).name == "chatgpt"
    assert read(open_source(str(path))).texts == ["second try", "answer two"]


def test_a_cut_off_export_says_where_it_ends(tmp_path: Path) -> None:
    path = tmp_path / "conversations.json"
    whole = json.dumps([talk(*BRANCHES, id=str(n), current_node="a2") for n in range(3)])
    path.write_text(whole[:-40])
    found: list[object] = []
    with pytest.raises(SourceUnreadable, match="stops being JSON behind conversation 2"):
        found.extend(open_source(str(path)).read())
    path.write_bytes(b"PK\x03\x04 but no archive")
    with pytest.raises(SourceUnreadable):
        recognise(str(path))


def test_claudes_flat_lists_are_read_whole(tmp_path: Path) -> None:
    flat = claude(
        said("a", "one", created_at="2025-10-01T10:00:01.5Z"),
        said("b", [], sender="assistant", text="only in text", created_at=None),
        said("c", []),
    )
    path = written(tmp_path / "conversations.json", flat, claude(uuid="e"))
    assert recognise(path).name == "claude"
    reading = read(open_source(path))
    assert [(m.role, m.content) for m in reading.messages] == [
        ("user", "one"),
        ("assistant", "only in text"),
    ]
    assert reading.skipped == {"empty": 1, "empty conversation": 1}
    one, two = reading.messages
    assert (one.key, one.user_id, one.session_title) == ("claude:u/a", "acc", None)
    assert one.created_at == two.created_at and two.metadata["time_estimated"] is True


@pytest.mark.parametrize(
    ("leaf", "expected"), [(None, ["q", "new"]), ("old", ["q", "old"]), ("gone", ["q", "new"])]
)
def test_claudes_trees_are_read_along_the_active_path(
    leaf: str | None, expected: list[str], tmp_path: Path
) -> None:
    tree = claude(
        said("q", "q", ROOT, created_at="2025-10-01T10:00:01Z"),
        said("new", "new", "q", created_at="2025-10-01T10:00:09Z"),
        said("old", "old", "q", created_at="2025-10-01T10:00:02Z"),
        current_leaf_message_uuid=leaf,
    )
    reading = read(open_source(written(tmp_path / "c.json", tree)))
    assert (reading.texts, reading.skipped) == (expected, {"other branch": 1})


BLOCKS: list[tuple[dict[str, Any], str]] = [
    (
        {
            "content": [{"type": "thinking", "thinking": "hm"}, {"type": "text", "text": "so"}],
            "text": "hm so",
        },
        "so",
    ),
    (
        {
            "content": [
                {"type": "tool_use", "name": "search", "input": {"q": "x"}},
                {"type": "tool_result", "content": [{"type": "text", "text": "y"}]},
                {"type": "text", "text": "so"},
            ]
        },
        "so",
    ),
    (
        {"content": [{"type": "tool_use", "name": "search", "input": {"q": "x"}}]},
        'search {"q": "x"}',
    ),
    ({"content": [{"type": "voice_note", "title": "Note", "text": "spoken"}]}, "Note\nspoken"),
    ({"content": [{"type": "brand_new", "x": [1]}, {"type": "text", "text": "so"}]}, "so"),
    (
        {
            "content": [],
            "text": "",
            "attachments": [{"file_name": "a.txt", "extracted_content": "in it"}],
            "files": [{"file_name": "b.png"}],
        },
        "a.txt\nin it\nb.png",
    ),
]


@pytest.mark.parametrize(("message", "expected"), BLOCKS)
def test_claudes_blocks_are_read_for_their_text(
    message: dict[str, Any], expected: str, tmp_path: Path
) -> None:
    one = claude({"uuid": "a", "sender": "human", **message})
    assert read(open_source(written(tmp_path / "c.json", one))).texts == [expected]


def test_what_claude_thought_is_read_on_request_only(tmp_path: Path) -> None:
    one = claude(said("a", [{"type": "thinking", "thinking": "hm"}], text="hm"))
    path = written(tmp_path / "c.json", one)
    assert read(open_source(path)).skipped == {"empty": 1}
    assert read(open_source(path, include_hidden=True)).texts == ["hm"]
