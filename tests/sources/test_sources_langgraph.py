"""LangGraph's checkpoints, written and read by LangGraph itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, TypedDict

import pytest
from sources_reading import read

from recall.sources.opening import open_source
from recall.sources.recognition import recognise
from recall.sources.source import Found

if TYPE_CHECKING:
    from pathlib import Path

graph = pytest.importorskip("langgraph.graph", reason="langgraph is the extra recall[langgraph]")
sqlite = pytest.importorskip("langgraph.checkpoint.sqlite", reason="needs its SQLite saver")
core = pytest.importorskip("langchain_core.messages")


class State(TypedDict):
    messages: Annotated[list[Any], graph.add_messages]


def answer(state: State) -> dict[str, Any]:
    call = {"name": "search", "args": {"q": "neon"}, "id": "c1"}
    return {
        "messages": [
            core.AIMessage(content=[{"type": "text", "text": "let me look"}], tool_calls=[call]),
            core.ToolMessage(content="found", tool_call_id="c1", name="search"),
        ]
    }


def ask(path: str, thread: str, *messages: Any) -> None:
    with sqlite.SqliteSaver.from_conn_string(path) as saver:
        app = graph.StateGraph(State).add_node("answer", answer)
        app = app.add_edge(graph.START, "answer").compile(checkpointer=saver)
        app.invoke({"messages": list(messages)}, {"configurable": {"thread_id": thread}})


def test_the_newest_checkpoint_of_each_thread_is_read(tmp_path: Path) -> None:
    path = str(tmp_path / "checkpoints.db")
    ask(path, "one", core.SystemMessage("be brief"), core.HumanMessage("hi"))
    ask(path, "two", core.HumanMessage("other"))
    ask(path, "one", core.HumanMessage("again"))
    assert recognise(path).name == "langgraph"
    source = open_source(path)
    reading = read(source)
    tool = ['let me look\nsearch {"q": "neon"}', "found"]
    assert reading.texts == ["other", *tool, "hi", *tool, "again", *tool]
    assert reading.skipped == {"system prompt": 1}
    assert {m.metadata["time_estimated"] for m in reading.messages} == {True}
    assert [m.role for m in reading.messages[:3]] == ["user", "assistant", "tool"]
    ask(path, "two", core.HumanMessage("later"))
    new = [i.memory for i in source.read(reading.items[-1].position) if isinstance(i, Found)]
    assert [m.content for m in new] == ["other", *tool, "later", *tool]
    assert {m.key for m in reading.memories if m.session_id == "two"} < {m.key for m in new}  # type: ignore[union-attr]
