"""What tests are made of: texts as people and machines write them, histories, scopes, evidence."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
from hypothesis import settings
from hypothesis import strategies as st

from recall.contract.values import Message, Note
from recall.retrieval.evidence import Evidence


def examples(number: int) -> settings:
    """Return settings for so many examples, and for as many times more or fewer as the profile."""
    return settings(max_examples=max(1, number * settings().max_examples // 30), deadline=None)


START = datetime(2025, 3, 1, 9, tzinfo=UTC)

IDENTIFIERS = (
    "ERR_CONN_42",
    "getUserName",
    "HTTPServer2",
    "recall/api/app.py",
    "https://neon.tech/docs/a-b?c=d#e",
    "v18.2.1",
    "snake_case_name",
    "--no-cache",
    "user@example.org",
    "C:\\Windows\\x86",
    "a.b.c::d",
    "0x1F4A9",
    "日本語テスト",
    "向量数据库",
    "안녕하세요",
    "naïve",
    "Straße",
    "Ω≈ç√",
    "👩‍💻",
    "ﬁne",
)

#: Any text, with what breaks tokenizers more often than chance would have it.
texts = st.lists(
    st.one_of(
        st.text(max_size=30),
        st.sampled_from(IDENTIFIERS),
        st.sampled_from(["\n", "\n\n", ". ", "! ", "。", "\t", " ", "'", '"', "\\", "…"]),
        st.sampled_from(["The pooler drops idle connections.", "Why is it so slow?", "we", "ok"]),
    ),
    max_size=40,
).map("".join)

#: Sentences that share words, so that a question finds several.
SENTENCES = (
    "The pooler drops idle connections after five minutes.",
    "Idle connections keep the database awake.",
    "We moved the deadline of the release to Friday.",
    "Lunch on Friday at the harbour?",
    "ERR_CONN_42 comes from the pooler.",
    "The cat sleeps on the keyboard again.",
    "Vector search needs an index that fits in memory.",
    "The index of the release notes is wrong.",
    "Please rename getUserName to current_user.",
    "The harbour is closed because of the storm.",
    "Memory grows when the keyboard handler leaks.",
    "数据库的连接断开了。",
    "Deploy v18.2.1 on Friday.",
    "I like the storm more than the harbour.",
)

SESSIONS = ("alpha", "beta", "gamma/1")
AUTHORS = (None, "Ada", "Grace")
USERS = (None, "u1", "u2")
ROLES = ("user", "assistant", "tool")
TOPICS: tuple[dict[str, Any], ...] = ({}, {"topic": "db"}, {"topic": "life", "n": {"deep": [1, 2]}})

times = st.integers(0, 40).map(lambda n: START + timedelta(hours=6 * n))

messages = st.builds(
    Message,
    session_id=st.sampled_from(SESSIONS),
    role=st.sampled_from(ROLES),
    content=st.sampled_from(SENTENCES),
    author=st.sampled_from(AUTHORS),
    user_id=st.sampled_from(USERS),
    created_at=times,
    metadata=st.sampled_from(TOPICS),
)

notes = st.builds(
    Note,
    content=st.sampled_from(SENTENCES),
    title=st.sampled_from([None, "Release", "Storm warning"]),
    user_id=st.sampled_from(USERS),
    created_at=times,
    metadata=st.sampled_from(TOPICS),
)


def some(values: tuple[Any, ...]) -> st.SearchStrategy[list[Any]]:
    """A few of `values`, each once."""
    return st.lists(st.sampled_from(values), min_size=1, max_size=2, unique=True)


#: Filters of a question, as its keyword arguments.
scopes = st.fixed_dictionaries(
    {},
    optional={
        "kinds": some(("message", "note")),
        "session_ids": some((*SESSIONS, "no such session")),
        "exclude_session_ids": some(SESSIONS),
        "roles": some(ROLES),
        "authors": some(("Ada", "Grace", "nobody")),
        "user_id": st.sampled_from(["u1", "u2"]),
        "since": times,
        "until": times,
        "metadata": st.sampled_from([{}, {"topic": "db"}, {"n": {"deep": [2]}}]),
    },
)


@st.composite
def evidence(draw: st.DrawFn) -> Evidence:
    """Evidence of a few threads of turns, with neighbours missing here and there."""
    words = draw(st.integers(0, 3))
    rows: list[dict[str, Any]] = []
    memory = 0
    for thread in range(1, draw(st.integers(1, 3)) + 1):
        before = None
        for turn in range(draw(st.integers(0, 5))):
            memory += 1
            for piece in range(draw(st.integers(1, 2))):
                # Several turns of one moment are told apart by their ids.
                rows.append(
                    {
                        "id": len(rows) + 1,
                        "memory": memory,
                        "piece": piece,
                        "thread": thread,
                        "time": turn // 2 * 1_000_000,
                        "length": draw(st.integers(0, 60)),
                        "joined": before is not None and draw(st.booleans()),
                        "in_scope": draw(st.integers(0, 3)) > 0,
                        "similarity": draw(st.integers(-20, 100)) / 100,
                        "body": [
                            draw(st.sampled_from([0.0, 0.0, 0.61, 0.76])) for _ in range(words)
                        ],
                        "head": [draw(st.sampled_from([0.0, 0.0, 0.61])) for _ in range(words)],
                    }
                )
                before = rows[-1]
    order = draw(st.permutations(rows))

    def column(name: str, kind: Any) -> np.ndarray:
        return np.array([row[name] for row in order], kind)

    chunks = sorted(draw(st.lists(st.integers(1, 50), min_size=words, max_size=words)))
    return Evidence(
        words=[f"w{n}" for n in range(words)],
        word_chunks=np.array(chunks, np.int64),
        absent=draw(st.integers(0, 3)),
        corpus_chunks=draw(st.integers(50, 1000)),
        corpus_length=draw(st.integers(50, 20_000)),
        exact=True,
        chunk_ids=column("id", np.int64),
        memory_ids=column("memory", np.int64),
        pieces=column("piece", np.int32),
        threads=column("thread", np.int64),
        times=column("time", np.int64),
        lengths=column("length", np.int32),
        digests=column("memory", np.int64),  # no two memories are twins
        joined=column("joined", np.bool_),
        in_scope=column("in_scope", np.bool_),
        similarities=column("similarity", np.float32),
        body=column("body", np.float32).reshape(len(order), words),
        head=column("head", np.float32).reshape(len(order), words),
        pending=0,
    )
