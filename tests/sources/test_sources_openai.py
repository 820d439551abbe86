"""The Conversations API through the real client, against a server that speaks its wire format."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mutations import ITEMS as MUTABLE
from mutations import mutated
from sources_reading import Reading, read
from strategies import examples

from recall.contract.errors import SourceUnreadable
from recall.sources.opening import open_source
from recall.sources.recognition import recognise
from recall.sources.systems.openai.conversation_ids import listed_conversations

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def text(number: int) -> dict[str, Any]:
    role, kind = ("user", "input_text") if number % 2 else ("assistant", "output_text")
    part = {"type": kind, "text": f"text {number}", "annotations": []}
    return {
        "id": f"msg_{number:03}",
        "type": "message",
        "role": role,
        "status": "completed",
        "content": [part],
    }


ITEMS: dict[str, list[dict[str, Any]]] = {
    "conv_long": [text(number) for number in range(1, 231)],
    "conv_odd": [
        {
            "id": "msg_s",
            "type": "message",
            "role": "system",
            "content": [{"type": "input_text", "text": "be brief"}],
            "status": "completed",
        },
        {"id": "rs_1", "type": "reasoning", "summary": [], "encrypted_content": "gAAAA"},
        {"id": "new_1", "type": "brand_new_type", "data": 1},
        {
            "id": "fc_1",
            "type": "function_call",
            "name": "f",
            "arguments": '{"a": 1}',
            "call_id": "c",
            "status": "completed",
        },
        {
            "id": "fo_1",
            "type": "function_call_output",
            "call_id": "c",
            "output": "out",
            "status": "completed",
        },
        {
            "id": "msg_i",
            "type": "message",
            "role": "user",
            "status": "completed",
            "content": [
                {"type": "input_text", "text": "look"},
                {
                    "type": "input_image",
                    "image_url": "data:image/png;base64,AA",
                    "detail": "auto",
                    "file_id": None,
                },
            ],
        },
    ],
    "conv_empty": [],
}


class Api(BaseHTTPRequestHandler):
    calls: list[str]

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        asked = {name: values[0] for name, values in parse_qs(url.query).items()}
        _, _, conversation, *rest = url.path.strip("/").split("/")
        self.calls.append(self.path)
        if conversation not in ITEMS:
            error = {"message": f"{conversation} not found", "type": "invalid_request_error"}
            self._answer(404, {"error": error})
        elif not rest:
            about = {"id": conversation, "object": "conversation", "created_at": 1_700_000_000}
            self._answer(200, {**about, "metadata": {"user_id": "ann"}})
        else:
            items = ITEMS[conversation]
            ids = [item["id"] for item in items]
            start = ids.index(asked["after"]) + 1 if "after" in asked else 0
            page = items[start : start + int(asked.get("limit", 20))]
            assert asked["order"] == "asc"
            ends = {"first_id": page[0]["id"], "last_id": page[-1]["id"]} if page else {}
            more = start + len(page) < len(items)
            self._answer(200, {"object": "list", "data": page, "has_more": more, **ends})

    def _answer(self, status: int, body: dict[str, Any]) -> None:
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


@pytest.fixture
def api() -> Iterator[str]:
    pytest.importorskip("openai", reason="openai is the extra recall[openai]")
    Api.calls = []
    server = ThreadingHTTPServer(("127.0.0.1", 0), Api)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/v1"
    server.shutdown()
    server.server_close()
    thread.join()


def test_items_of_listed_conversations_are_read(api: str, tmp_path: Path) -> None:
    kept = [
        {"id": "conv_odd", "title": "My talk", "createdAt": "2026-01-01T00:00:00Z"},
        {"id": "conv_gone", "title": "Gone"},
        {"id": "conv_empty"},
    ]
    listed = tmp_path / "taskflow_conversations.json"
    listed.write_text(json.dumps(kept))
    assert recognise(str(listed)).name == "openai"
    reading = read(open_source(str(listed), api_key="k", base_url=api))
    assert [(m.role, m.content) for m in reading.messages] == [
        ("assistant", 'f {"a": 1}'),
        ("tool", "out"),
        ("user", "look"),
    ]
    assert reading.skipped == {"system prompt": 1, "reasoning": 1, "unknown type": 1, "gone": 1}
    call, _, look = reading.messages
    assert (call.session_id, call.session_title, call.user_id) == ("conv_odd", "My talk", "ann")
    assert call.created_at and look.created_at and call.created_at < look.created_at
    assert call.metadata["time_estimated"] is True
    assert "base64" not in str(reading.items) and "gAAAA" not in str(reading.items)


def test_pages_are_as_large_as_the_api_allows(api: str) -> None:
    source = open_source("conv_long", api_key="k", base_url=api)
    reading = Reading(list(source.read()))
    assert reading.texts == [f"text {number}" for number in range(1, 231)]
    assert sum("/items" in call for call in Api.calls) == 3
    middle = reading.items[149].position
    assert list(source.read(middle)) == reading.items[150:]
    assert Api.calls[-2].endswith("limit=100&order=asc&after=msg_150") or "msg_150" in str(
        Api.calls
    )


def test_a_server_that_refuses_is_said(api: str) -> None:
    with pytest.raises(SourceUnreadable, match="conv_long cannot be read"):
        list(open_source("conv_long", api_key="k", base_url="http://127.0.0.1:1/v1").read())


@pytest.mark.parametrize(
    "content",
    [
        "conv_a\nconv_b\n",
        "conv_a, conv_b",
        '["conv_a", "conv_b", "conv_a"]',
        '[{"id": "conv_a", "title": "x", "updatedAt": "…"}, {"id": "conv_b"}]',
        json.dumps({"taskflow_conversations": json.dumps([{"id": "conv_a"}, {"id": "conv_b"}])}),
        "\ufeff" + json.dumps({"conversations": ["conv_a", "conv_b"]}),
    ],
)
def test_ids_are_found_in_whatever_lists_them(content: str, tmp_path: Path) -> None:
    (tmp_path / "ids").write_text(content)
    assert [c.id for c in listed_conversations(str(tmp_path / "ids"))] == ["conv_a", "conv_b"]
    assert recognise(str(tmp_path / "ids")).name == "openai"


def test_a_missing_package_is_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "openai", None)
    with pytest.raises(SourceUnreadable, match=r"pip install 'recall\[openai\]'"):
        open_source("conv_a")


@given(st.lists(st.sampled_from(MUTABLE).flatmap(mutated), max_size=4))
@examples(12)
def test_items_of_anything_are_read_or_skipped(api: str, items: list[Any]) -> None:
    told = [{**item, "id": f"i{n}"} for n, item in enumerate(items) if isinstance(item, dict)]
    ITEMS["conv_any"] = told
    source = open_source("conv_any", "openai", api_key="sk-test", base_url=api)
    assert read(source, positions=2).rows == len(told)
