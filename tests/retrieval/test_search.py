"""Questions against the real index: no scope starves, and the index follows the truth."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta
from itertools import count
from typing import TYPE_CHECKING, Any, get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import AUTHORS, SENTENCES, SESSIONS, START, TOPICS, USERS, messages, notes, scopes

from recall.contract.errors import Invalid, NotFound
from recall.contract.values import Around, Message, Mode, Note, Question
from recall.database.caller import Caller
from recall.memory import keys, memories
from recall.memory.forget import forget_memory, forget_session, forget_user

if TYPE_CHECKING:
    import psycopg

    from recall.contract.values import Answer
    from recall.database.units import Database
    from recall.indexing.worker import Worker
    from recall.retrieval.search import Searcher

pytestmark = pytest.mark.anyio
MODES: tuple[Mode, ...] = get_args(Mode)
_numbers = count()

#: Which way the database looks: at every row in scope, or through its indexes.
PATHS = {"exact": 5000, "indexes": 0}


@pytest.fixture(params=PATHS)
def path(request: pytest.FixtureRequest, owner: psycopg.Connection[Any]) -> str:
    """Both ways must keep every promise."""
    body = f"select {PATHS[request.param]}"
    owner.execute(
        "create or replace function exact_rows() returns integer language sql immutable"
        f" as $$ {body} $$".encode()
    )
    owner.execute("set enable_seqscan = off")
    return str(request.param)


async def remember(
    database: Database, worker: Worker, caller: Caller, *given: Message | Note
) -> list[int]:
    """Store and index; return the ids in the order given."""
    ids: dict[int, int] = {}
    messages = {place: each for place, each in enumerate(given) if isinstance(each, Message)}
    notes = {place: each for place, each in enumerate(given) if isinstance(each, Note)}
    if messages:
        stored = await memories.save_messages(database, caller, list(messages.values()))
        ids.update(zip(messages, stored.ids, strict=True))
    if notes:
        stored = await memories.save_notes(database, caller, list(notes.values()))
        ids.update(zip(notes, stored.ids, strict=True))
    await worker.drain()
    return [ids[place] for place in range(len(given))]


def said(content: str, **more: Any) -> Message:
    return Message(**{"session_id": "s", "role": "user", "content": content} | more)


def contents(answer: Answer) -> list[str]:
    return [hit.content for hit in answer.results]


def contains(whole: Any, part: Any) -> bool:
    """Return what Postgres says to whole @> part."""
    if isinstance(part, dict):
        return isinstance(whole, dict) and all(
            key in whole and contains(whole[key], value) for key, value in part.items()
        )
    if isinstance(part, list):
        return isinstance(whole, list) and all(
            any(contains(item, wanted) for item in whole) for wanted in part
        )
    return bool(whole == part)


def matches(memory: Message | Note, scope: dict[str, Any]) -> bool:
    """Return whether a memory is in scope, as the contract says it."""
    message = memory if isinstance(memory, Message) else None
    session = message.session_id if message else None
    at = memory.created_at
    assert at is not None
    return (
        ("message" if message else "note") in scope.get("kinds", ("message", "note"))
        and ("session_ids" not in scope or session in scope["session_ids"])
        and session not in scope.get("exclude_session_ids", ())
        and ("roles" not in scope or (message is not None and message.role in scope["roles"]))
        and ("authors" not in scope or (message is not None and message.author in scope["authors"]))
        and ("user_id" not in scope or memory.user_id == scope["user_id"])
        and ("since" not in scope or at >= scope["since"])
        and ("until" not in scope or at < scope["until"])
        and contains(memory.metadata, scope.get("metadata", {}))
    )


def twin(memory: Message | Note) -> tuple[Any, ...]:
    """Return what two memories share that fold into one hit."""
    if isinstance(memory, Message):
        return "message", memory.role, memory.author, memory.content
    return "note", memory.title, memory.content


histories = st.lists(st.one_of(messages, messages, messages, notes), max_size=24)


@settings(max_examples=40)
@given(histories, scopes, st.integers(1, 30), st.integers(1, 30), st.sampled_from(SENTENCES))
async def test_every_matching_memory_comes_back_and_no_other(
    path: str,
    database: Database,
    worker: Worker,
    searcher: Searcher,
    history: list[Message | Note],
    scope: dict[str, Any],
    limit: int,
    fewer: int,
    query: str,
) -> None:
    caller = await keys.caller_of(database, f"search {next(_numbers)}")
    ids = await remember(database, worker, caller, *history)
    matching = {
        id: twin(memory) for id, memory in zip(ids, history, strict=True) if matches(memory, scope)
    }
    folded = Counter(matching.values())
    by_words = []
    for mode in MODES:
        answer = await searcher.recall(
            caller, Question(query=query, mode=mode, limit=limit, **scope)
        )
        found = [hit.id for hit in answer.results]
        assert set(found) <= set(matching), mode
        shown = [matching[id] for id in found]
        assert len(set(shown)) == len(shown), mode
        scores = [hit.score for hit in answer.results]
        assert scores == sorted(scores, reverse=True)
        if mode == "keyword":
            by_words = found
        else:
            assert len(found) == min(limit, len(folded)), mode
            if limit >= len(folded):
                assert {matching[h.id]: h.count for h in answer.results} == folded
        fewer = min(fewer, limit)
        first = await searcher.recall(
            caller, Question(query=query, mode=mode, limit=fewer, **scope)
        )
        assert [hit.id for hit in first.results] == found[:fewer], mode
    if path == "exact":
        same = {key for key in folded if key[-1] == query}
        assert same <= {matching[id] for id in by_words} or len(by_words) == limit


async def test_every_mode_finds_what_was_said(
    path: str, database: Database, worker: Worker, caller: Caller, searcher: Searcher
) -> None:
    await remember(database, worker, caller, *(said(text, session_id=text) for text in SENTENCES))
    for mode in MODES:
        for text in SENTENCES[::3]:
            answer = await searcher.recall(caller, Question(query=text, mode=mode))
            assert contents(answer)[0] == text, mode


async def test_meaning_finds_what_words_do_not(
    path: str, database: Database, worker: Worker, caller: Caller, searcher: Searcher
) -> None:
    await remember(
        database,
        worker,
        caller,
        Note(content="My dog is ill and the vet cannot see him today."),
        Note(content="The quarterly figures are due on Thursday."),
    )
    query = "sick puppy"
    answer = await searcher.recall(caller, Question(query=query, mode="semantic"))
    assert "dog" in contents(answer)[0]
    assert contents(await searcher.recall(caller, Question(query=query, mode="keyword"))) == []
    assert "dog" in contents(await searcher.recall(caller, Question(query=query)))[0]


@pytest.mark.parametrize(
    "query",
    [
        "ERR_CONN_42",
        "err conn",
        "neon.tech",
        "getUserName",
        "user name",
        "数据",
        "18.2.1",
        "deploy",
    ],
)
async def test_words_find_identifiers_and_their_parts(
    query: str, database: Database, worker: Worker, caller: Caller, searcher: Searcher
) -> None:
    needles = {
        "ERR_CONN_42": "It failed with ERR_CONN_42 again",
        "err conn": "It failed with ERR_CONN_42 again",
        "neon.tech": "Docs are at https://neon.tech/docs",
        "getUserName": "Who calls getUserName here?",
        "user name": "Who calls getUserName here?",
        "数据": "数据库的连接断开了",
        "18.2.1": "Deployed v18.2.1 at noon",
        "deploy": "Deployed v18.2.1 at noon",
    }
    await remember(database, worker, caller, *(Note(content=c) for c in set(needles.values())))
    answer = await searcher.recall(caller, Question(query=query, mode="keyword"))
    assert contents(answer) == [needles[query]]


APPLES: tuple[Message | Note, ...] = (
    said("apples one", session_id="a", role="user", author="Ada", user_id="u1",
         created_at=START, metadata={"topic": "x", "tags": ["p", "q"]}),
    said("apples two", session_id="a", role="assistant", author="Bot", user_id="u1",
         created_at=START + timedelta(days=1), metadata={"topic": "y"}),
    said("apples three", session_id="b", role="user", author="Grace", user_id="u2",
         created_at=START + timedelta(days=2)),
    Note(content="apples four", title="Fruit", user_id="u2",
         created_at=START + timedelta(days=3)),
)  # fmt: skip

#: Each filter of the contract alone, where a plain reading of it can be checked by eye.
FILTERS: list[tuple[dict[str, Any], str]] = [
    ({}, "one two three four"),
    ({"kinds": ["note"]}, "four"),
    ({"kinds": ["message"]}, "one two three"),
    ({"session_ids": ["a"]}, "one two"),
    ({"session_ids": ["a", "b"]}, "one two three"),
    ({"session_ids": ["nowhere"]}, ""),
    ({"exclude_session_ids": ["a"]}, "three four"),
    ({"exclude_session_ids": ["nowhere"]}, "one two three four"),
    ({"exclude_session_ids": []}, "one two three four"),
    ({"roles": ["user"]}, "one three"),
    ({"authors": ["Ada", "Grace"]}, "one three"),
    ({"user_id": "u2"}, "three four"),
    ({"since": START + timedelta(days=1)}, "two three four"),
    ({"until": START + timedelta(days=1)}, "one"),
    ({"since": START + timedelta(days=1), "until": START + timedelta(days=3)}, "two three"),
    ({"metadata": {"topic": "x"}}, "one"),
    ({"metadata": {"tags": ["q"]}}, "one"),
    ({"metadata": {}}, "one two three four"),
    ({"metadata": {"topic": "z'; drop table memory; --"}}, ""),
    ({"user_id": "'; drop table memory; --"}, ""),
    ({"user_id": "u1", "roles": ["user"], "session_ids": ["a"]}, "one"),
]


async def test_a_filter_keeps_what_it_names(
    path: str, database: Database, worker: Worker, caller: Caller, searcher: Searcher
) -> None:
    await remember(database, worker, caller, *APPLES)
    for mode in MODES:
        for scope, expected in FILTERS:
            answer = await searcher.recall(caller, Question(query="apples", mode=mode, **scope))
            wanted = sorted(f"apples {n}" for n in expected.split())
            assert sorted(contents(answer)) == wanted, (mode, scope)


#: Turns of one session, any column of which that may be null is so here and there.
turns_with_gaps = st.lists(
    st.tuples(st.sampled_from(AUTHORS), st.sampled_from(USERS), st.sampled_from(TOPICS)),
    min_size=2,
    max_size=8,
)


@given(turns_with_gaps, scopes, st.booleans())
async def test_what_a_neighbour_lacks_hides_nothing_and_fails_nothing(
    path: str,
    database: Database,
    worker: Worker,
    searcher: Searcher,
    gaps: list[tuple[Any, ...]],
    scope: dict[str, Any],
    apart: bool,
) -> None:
    """The turns beside a hit are context, whether a filter's column is null in them or not."""
    caller = await keys.caller_of(database, f"search {next(_numbers)}")
    turns = [
        said(f"apples number {n}", session_id="alpha", author=author, user_id=user,
             metadata=metadata, created_at=START + timedelta(hours=n))
        for n, (author, user, metadata) in enumerate(gaps)
    ]  # fmt: skip
    note = Note(content="apples in a note", created_at=START)
    ids = await remember(database, worker, caller, *turns, note)
    single = [{name: value} for name, value in scope.items()] if apart else [scope]
    for filters in single:
        told: list[Message | Note] = [*turns, note]
        wanted = {id for id, memory in zip(ids, told, strict=True) if matches(memory, filters)}
        for mode in MODES:
            answer = await searcher.recall(
                caller, Question(query="apples", mode=mode, explain=True, **filters)
            )
            assert {hit.id for hit in answer.results} == wanted, (mode, filters)


async def test_a_crowd_of_twins_leaves_room_for_the_others(
    path: str, database: Database, worker: Worker, caller: Caller, searcher: Searcher
) -> None:
    """More copies of one text than candidates of a leg: the other matching memories still come."""
    crowd = [Note(content="The pooler drops idle connections.") for _ in range(130)]
    others = [Note(content=text) for text in SENTENCES[1:6]]
    await remember(database, worker, caller, *crowd, *others)
    for mode in ("semantic", "hybrid"):
        answer = await searcher.recall(caller, Question(query=crowd[0].content, mode=mode))
        assert len(answer.results) == 6, mode


async def test_one_text_of_two_roles_is_two_hits(
    database: Database, worker: Worker, caller: Caller, searcher: Searcher
) -> None:
    twins = [said("The pooler drops idle connections.", role=role) for role in ("user", "agent")]
    await remember(database, worker, caller, *twins, *twins)
    answer = await searcher.recall(caller, Question(query="idle pooler"))
    assert sorted((hit.role, hit.count) for hit in answer.results) == [("agent", 2), ("user", 2)]


async def test_a_common_word_alone_is_found_among_many_of_it(
    database: Database,
    worker: Worker,
    caller: Caller,
    searcher: Searcher,
    owner: psycopg.Connection[Any],
) -> None:
    """Where neither word is rare, one-word texts are candidates beside those with both words."""
    for name, value in {"exact_rows": 0, "candidate_rows": 5}.items():
        owner.execute(
            f"create or replace function {name}() returns integer language sql immutable"
            f" as $$ select {value} $$".encode()
        )
    long = "The {} of the house by the river was painted again in the second week of {} month"
    crowd = [
        said(long.format(word, n), session_id=f"s{n}")
        for n in range(40)
        for word in ("red", "door")
    ]
    await remember(database, worker, caller, *crowd, said("door", session_id="short"))
    answer = await searcher.recall(caller, Question(query="red door", mode="keyword"))
    assert contents(answer)[0] == "door"


async def test_a_long_memory_does_not_crowd_out_others(
    path: str, database: Database, worker: Worker, caller: Caller, searcher: Searcher
) -> None:
    long = "The pooler drops idle connections. " * 5000
    others = [Note(content=text) for text in SENTENCES[1:9]]
    await remember(database, worker, caller, Note(content=long), *others)
    for mode in ("semantic", "hybrid"):
        answer = await searcher.recall(caller, Question(query="idle pooler", mode=mode, limit=9))
        assert len(answer.results) == 9, mode


async def test_a_narrow_scope_in_a_large_history_is_not_starved(
    path: str, database: Database, worker: Worker, caller: Caller, searcher: Searcher
) -> None:
    crowd = [
        said(f"The pooler drops idle connection {n % 20}.", session_id=f"s{n % 40}")
        for n in range(400)
    ]
    mine = [said(f"Lunch number {n}", session_id="lunch", user_id="me") for n in range(7)]
    await remember(database, worker, caller, *crowd, *mine)
    for scope in ({"user_id": "me"}, {"session_ids": ["lunch"]}):
        for mode in ("semantic", "hybrid"):
            answer = await searcher.recall(
                caller, Question(query="idle connections of the pooler", mode=mode, **scope)
            )
            assert len(answer.results) == 7, (mode, scope)


PHRASES = (
    "idle connections are closed by the pooler",
    "connections that are idle are closed",
    "the cat is idle",
)


#: Words asked for, and which of PHRASES hold them.
DEMANDS: list[tuple[str, set[int]]] = [
    ('"idle connections"', {0}),
    ('"connections that are idle"', {1}),
    ('"pooler connections"', set()),
    ("idle", {0, 1, 2}),
    ("idle -cat", {0, 1}),
    ('idle -"idle connections"', {1, 2}),
    ('"idle connections" -cat', {0}),
    ("idle -nowhere", {0, 1, 2}),
]


async def test_asked_for_words_a_phrase_must_stand_and_an_excluded_one_must_not(
    path: str, database: Database, worker: Worker, caller: Caller, searcher: Searcher
) -> None:
    await remember(database, worker, caller, *(Note(content=text) for text in PHRASES))
    for query, expected in DEMANDS:
        answer = await searcher.recall(caller, Question(query=query, mode="keyword"))
        assert set(contents(answer)) == {PHRASES[n] for n in expected}, query


async def test_an_excluded_word_is_excluded_in_every_mode(
    path: str, database: Database, worker: Worker, caller: Caller, searcher: Searcher
) -> None:
    await remember(database, worker, caller, *(Note(content=text) for text in PHRASES))
    for mode in MODES:
        answer = await searcher.recall(caller, Question(query="idle -cat", mode=mode))
        assert set(contents(answer)) == set(PHRASES[:2]), mode


async def test_an_excluded_word_excludes_a_long_memory_wherever_it_stands(
    path: str, database: Database, worker: Worker, caller: Caller, searcher: Searcher
) -> None:
    long = "Idle talk about the harbour. " * 200 + "And a zebra."
    await remember(database, worker, caller, Note(content=long), Note(content="idle harbour"))
    answer = await searcher.recall(caller, Question(query="idle harbour -zebra"))
    assert contents(answer) == ["idle harbour"]


async def test_many_excluded_words_and_phrases_exclude_each(
    path: str, database: Database, worker: Worker, caller: Caller, searcher: Searcher
) -> None:
    pairs = [f"word{n} apart{n}" for n in range(31)]
    given = [Note(content=f"apples {pair}") for pair in pairs]
    await remember(database, worker, caller, *given, Note(content="apples word3 together apart3"))
    excluded = [f"-word{n}" if n % 2 else f'-"{pair}"' for n, pair in enumerate(pairs)]
    for mode in MODES:
        asked = " ".join(["apples", *excluded[1:], "-the"])
        answer = await searcher.recall(caller, Question(query=asked, mode=mode))
        assert contents(answer) == ["apples word0 apart0"], mode


@pytest.mark.parametrize(
    ("query", "part"),
    [
        ("apples " + " ".join(f"-word{n}" for n in range(33)), "exclude at most 32"),
        ("apples " + " ".join(f'-"a word{n}"' for n in range(33)), "exclude at most 32"),
        ("apples " + " ".join(f'"a word{n}"' for n in range(33)), "quote at most 32"),
        (f'apples "{" word" * 1001}"', "quote phrases of at most 1,000 words, not 1,001"),
        ("apples -" + "".join(chr(0x4E00 + n) for n in range(19_000)), "exclude phrases of at"),
    ],
    ids=["excluded", "excluded phrases", "phrases", "long phrase", "long run"],
)
async def test_a_question_of_too_many_demands_is_refused_before_anything_is_done(
    query: str, part: str, searcher: Searcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(searcher, "_database")
    for mode in MODES:
        with pytest.raises(Invalid, match=f"^query must .*{part}") as caught:
            await searcher.recall(Caller(1), Question(query=query, mode=mode))
        assert caught.value.field == "query"


async def test_in_a_question_a_phrase_is_a_hint(
    path: str, database: Database, worker: Worker, caller: Caller, searcher: Searcher
) -> None:
    await remember(database, worker, caller, *(Note(content=text) for text in PHRASES))
    answer = await searcher.recall(caller, Question(query='"idle connections"'))
    assert contents(answer)[0] == PHRASES[0]
    assert len(answer.results) == 3


STRANGE = ("?", "-", '""', '-""', "the of and", "'\\' || :*", "a & b | !c", "\\", "😀", "%s %(x)s")


async def test_a_strange_question_is_answered(
    path: str, database: Database, worker: Worker, caller: Caller, searcher: Searcher
) -> None:
    await remember(database, worker, caller, said("hello there"), said("it's a \\ 'quoted' & word"))
    for mode in MODES:
        for query in STRANGE:
            await searcher.recall(caller, Question(query=query, mode=mode, explain=True))


async def test_an_empty_recall_has_no_answer(
    database: Database, caller: Caller, searcher: Searcher
) -> None:
    for mode in MODES:
        answer = await searcher.recall(caller, Question(query="anything", mode=mode))
        assert answer.results == ()
        assert set(answer.took_ms) == {"embed", "search", "total"}


async def test_neighbours_come_with_a_hit_oldest_first(
    database: Database, worker: Worker, caller: Caller, searcher: Searcher
) -> None:
    turns = [said(f"turn {n}", created_at=START + timedelta(minutes=n)) for n in range(7)]
    turns[3] = said("the xylophone", created_at=START + timedelta(minutes=3))
    await remember(database, worker, caller, *turns, said("elsewhere", session_id="t"))
    question = Question(query="xylophone", limit=1, neighbors=Around(before=2, after=9))
    (hit,) = (await searcher.recall(caller, question)).results
    assert hit.neighbors is not None
    assert [turn.content for turn in hit.neighbors.before] == ["turn 1", "turn 2"]
    assert [turn.content for turn in hit.neighbors.after] == ["turn 4", "turn 5", "turn 6"]


async def test_a_group_is_a_session_by_its_best_turn(
    path: str, database: Database, worker: Worker, caller: Caller, searcher: Searcher
) -> None:
    turns = [said(f"harbour {n} {name}", session_id=name) for name in SESSIONS for n in range(6)]
    await remember(database, worker, caller, *turns, Note(content="harbour note"))
    answer = await searcher.recall(caller, Question(query="harbour", group_by="session"))
    found = [hit.session_id for hit in answer.results]
    assert sorted(found, key=str) == sorted([*SESSIONS, None], key=str)


@given(st.integers(1, 60))
@settings(max_examples=10)
async def test_an_answer_fits_into_the_tokens_asked_for(
    database: Database,
    worker: Worker,
    caller: Caller,
    searcher: Searcher,
    embedder: Any,
    budget: int,
) -> None:
    await remember(database, worker, caller, *(Note(content=text) for text in SENTENCES))
    question = Question(query="harbour", max_tokens=budget, limit=20)
    answer = await searcher.recall(caller, question)
    whole = await searcher.recall(caller, Question(query="harbour", limit=20))
    assert sum(len(o) for o in embedder.token_offsets(contents(answer))) <= budget
    assert answer.left_out is not None
    kept = {hit.id for hit in answer.results} | set(answer.left_out)
    assert kept == {hit.id for hit in whole.results}


async def test_an_explanation_adds_up(
    path: str, database: Database, worker: Worker, caller: Caller, searcher: Searcher
) -> None:
    await remember(database, worker, caller, *(said(text) for text in SENTENCES))
    for mode in MODES:
        question = Question(query="pooler on Friday", mode=mode, explain=True)
        for hit in (await searcher.recall(caller, question)).results:
            assert hit.explain is not None
            assert hit.explain["words"] + hit.explain["meaning"] == pytest.approx(hit.score)


async def test_a_recent_memory_may_be_preferred(
    database: Database, worker: Worker, caller: Caller, searcher: Searcher
) -> None:
    from datetime import UTC, datetime

    old = Note(content="The harbour is closed.", created_at=START - timedelta(days=900))
    new = Note(content="Someone mentioned the harbour in passing.", created_at=datetime.now(UTC))
    await remember(database, worker, caller, old, new)
    query = "The harbour is closed."
    plain = await searcher.recall(caller, Question(query=query))
    fresh = await searcher.recall(caller, Question(query=query, recency_half_life=30))
    assert contents(plain)[0] == old.content
    assert contents(fresh)[0] == new.content


operations = st.lists(
    st.one_of(
        st.tuples(st.just("say"), messages),
        st.tuples(st.just("say"), messages),
        st.tuples(st.just("note"), notes),
        st.tuples(st.just("replace"), notes),
        st.tuples(st.just("forget"), st.integers(0, 30)),
        st.tuples(st.just("forget session"), st.sampled_from(SESSIONS)),
        st.tuples(st.just("forget user"), st.sampled_from(["u1", "u2"])),
        st.tuples(st.just("index"), st.none()),
        st.tuples(st.just("fold"), st.none()),
    ),
    max_size=14,
)


async def apply(
    database: Database, worker: Worker, caller: Caller, owner: psycopg.Connection[Any], step: Any
) -> None:
    from contextlib import suppress

    from recall.indexing import queue

    verb, value = step
    rows = owner.execute(
        "select id, kind from memory where tenant_id = %s order by id", [caller.tenant]
    ).fetchall()
    with suppress(NotFound):
        match verb:
            case "say":
                await memories.save_messages(database, caller, [value])
            case "note":
                await memories.save_notes(database, caller, [value])
            case "replace" if ids := [id for id, kind in rows if kind == "note"]:
                await memories.replace_note(database, caller, ids[0], value)
            case "forget" if rows:
                id, kind = rows[value % len(rows)]
                await forget_memory(database, caller, kind, id)
            case "forget session":
                await forget_session(database, caller, value)
            case "forget user":
                await forget_user(database, caller, value)
            case "index":
                await worker.drain()
            case "fold":
                await queue.fold_counts(database)


def statistics(owner: psycopg.Connection[Any], caller: Caller) -> tuple[Any, Any]:
    """Return what the ledgers say of a tenant."""
    words = owner.execute(
        "select word, sum(chunks) from word_count where tenant_id = %s"
        " group by 1 having sum(chunks) <> 0 order by 1",
        [caller.tenant],
    ).fetchall()
    corpus = owner.execute(
        "select coalesce(sum(chunks), 0), coalesce(sum(length), 0) from corpus_count"
        " where tenant_id = %s",
        [caller.tenant],
    ).fetchone()
    return words, corpus


def recounted(owner: psycopg.Connection[Any], caller: Caller) -> tuple[Any, Any]:
    """Return what the ledgers should say."""
    words = owner.execute(
        "select w.lexeme, count(*) from chunk as c cross join lateral unnest(c.words) as w"
        " where c.tenant_id = %s group by 1 order by 1",
        [caller.tenant],
    ).fetchall()
    corpus = owner.execute(
        "select count(*), coalesce(sum(length), 0) from chunk where tenant_id = %s", [caller.tenant]
    ).fetchone()
    return words, corpus


@settings(max_examples=25)
@given(operations)
async def test_statistics_equal_a_recount_after_any_history(
    database: Database, worker: Worker, owner: psycopg.Connection[Any], steps: list[Any]
) -> None:
    caller = await keys.caller_of(database, f"counted {next(_numbers)}")
    for step in steps:
        await apply(database, worker, caller, owner, step)
        assert statistics(owner, caller) == recounted(owner, caller)
    await worker.drain()
    assert statistics(owner, caller) == recounted(owner, caller)
    for statement in (
        "select id from memory where tenant_id = %s order by 1",
        "select distinct memory_id from chunk where tenant_id = %s order by 1",
        "select distinct c.memory_id from chunk as c join embedding as e on e.chunk_id = c.id"
        " where e.tenant_id = %s order by 1",
    ):
        rows = owner.execute(statement.encode(), [caller.tenant]).fetchall()
        assert (
            rows
            == owner.execute(
                "select id from memory where tenant_id = %s order by 1", [caller.tenant]
            ).fetchall()
        )
    orphans = owner.execute(
        "select from embedding as e where not exists (select from chunk as c where c.id = chunk_id)"
    ).fetchall()
    assert orphans == []


@pytest.mark.parametrize("how", ["one by one", "by session", "by user"])
async def test_erasure_leaves_nothing(
    how: str, database: Database, worker: Worker, caller: Caller, searcher: Searcher,
    owner: psycopg.Connection[Any],
) -> None:  # fmt: skip
    given: list[Message | Note] = [said(text, user_id="u") for text in SENTENCES]
    given.append(Note(content="The secret of the harbour", user_id="u"))
    ids = await remember(database, worker, caller, *given)
    await memories.save_messages(database, caller, [said("never indexed", user_id="u")])
    owner.execute("update job set parked_at = now(), error = 'dead letter'")
    match how:
        case "by user":
            assert await forget_user(database, caller, "u") == 16
        case "by session":
            assert await forget_session(database, caller, "s") == 15
            await forget_memory(database, caller, "note", ids[-1])
        case _:
            rows = owner.execute("select id, kind from memory").fetchall()
            for id, kind in rows:
                await forget_memory(database, caller, kind, id)
            with pytest.raises(NotFound):  # it went with its last message
                await forget_session(database, caller, "s")
    for table in ("memory", "session", "chunk", "embedding", "job"):
        assert owner.execute(f"select from {table}".encode()).fetchall() == [], table
    assert statistics(owner, caller) == ([], (0, 0))
    from recall.indexing import queue

    await queue.fold_counts(database)
    assert owner.execute("select from word_count").fetchall() == []
    for mode in MODES:
        assert (await searcher.recall(caller, Question(query="harbour", mode=mode))).results == ()
