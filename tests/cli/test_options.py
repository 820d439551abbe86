"""What an agent asks for around a question: grouping, folding, budgets, age, a second look."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from recall.contract.errors import Invalid
from recall.contract.values import Message, Note, Question
from recall.indexing import doctor
from recall.memory import memories
from recall.retrieval.rerank import Reranker
from recall.retrieval.search import Searcher

if TYPE_CHECKING:
    from pathlib import Path

    import psycopg

    from recall.database.caller import Caller
    from recall.database.units import Database
    from recall.embedding import Model
    from recall.indexing.profiles import Profile
    from recall.indexing.worker import Worker

pytestmark = pytest.mark.anyio

START = datetime(2026, 1, 5, 9, 0, tzinfo=UTC)
LINES = (
    "The lighthouse lamp was replaced.",
    "Who paid for the lamp of the lighthouse?",
    "The harbour office paid, in March.",
    "Lunch is at noon.",
)


async def remember(database: Database, worker: Worker, caller: Caller, sessions: int = 3) -> None:
    turns = [
        Message(
            session_id=f"s{session}",
            role="user",
            author="Ada",
            content=f"{line} ({session})",
            created_at=START + timedelta(days=session, minutes=minute),
        )
        for session in range(sessions)
        for minute, line in enumerate(LINES)
    ]
    await memories.save_messages(database, caller, turns)
    await worker.drain()


async def test_grouping_returns_each_session_once_by_its_best_turn(
    database: Database, searcher: Searcher, worker: Worker, caller: Caller
) -> None:
    await remember(database, worker, caller)
    plain = await searcher.recall(caller, Question(query="lighthouse lamp", limit=12))
    grouped = await searcher.recall(caller, Question(query="lighthouse lamp", group_by="session"))
    best: dict[str | None, float] = {}
    for hit in plain.results:
        best.setdefault(hit.session_id, hit.score)
    assert [(hit.session_id, hit.score) for hit in grouped.results] == list(best.items())
    assert len(grouped.results) == 3


async def test_identical_texts_of_one_author_fold_into_one_hit_with_a_count(
    database: Database, searcher: Searcher, worker: Worker, caller: Caller
) -> None:
    said = [
        Message(session_id=f"s{n}", role="user", author=author, content="Order more rope.")
        for n, author in enumerate(("Ada", "Ada", "Ada", "Ben"))
    ]
    await memories.save_messages(database, caller, said)
    await worker.drain()
    answer = await searcher.recall(caller, Question(query="rope"))
    assert sorted((hit.author, hit.count) for hit in answer.results) == [("Ada", 3), ("Ben", 1)]


async def test_a_budget_keeps_whole_memories_and_names_what_it_left_out(
    database: Database, searcher: Searcher, worker: Worker, caller: Caller
) -> None:
    long = "The lighthouse lamp and its long story. " * 40
    await memories.save_notes(
        database, caller, [Note(content=long), Note(content="The lighthouse lamp is new.")]
    )
    await worker.drain()
    everything = await searcher.recall(caller, Question(query="lighthouse lamp"))
    answer = await searcher.recall(caller, Question(query="lighthouse lamp", max_tokens=20))
    assert everything.left_out is None
    assert [hit.content for hit in answer.results] == ["The lighthouse lamp is new."]
    (left,) = answer.left_out or ()
    assert left in {hit.id for hit in everything.results}
    nothing = await searcher.recall(caller, Question(query="lighthouse lamp", max_tokens=1))
    assert nothing.results == ()


async def test_age_halves_a_score_only_when_asked(
    database: Database, searcher: Searcher, worker: Worker, caller: Caller
) -> None:
    now = datetime.now(UTC)
    notes = [
        Note(
            content="The lamp is green.", created_at=now - timedelta(days=days), category=str(days)
        )
        for days in (20, 10, 0)
    ]
    # Told apart by their titles, so that they do not fold; equal otherwise.
    notes = [note.model_copy(update={"title": f"n{n}"}) for n, note in enumerate(notes)]
    await memories.save_notes(database, caller, notes)
    await worker.drain()
    plain = await searcher.recall(caller, Question(query="green lamp", mode="keyword"))
    faded = await searcher.recall(
        caller, Question(query="green lamp", mode="keyword", recency_half_life=10)
    )
    assert len({round(hit.score, 6) for hit in plain.results}) == 1
    newest, middle, oldest = (hit.score for hit in faded.results)
    assert newest == pytest.approx(plain.results[0].score, rel=1e-3)
    assert middle == pytest.approx(newest / 2, rel=1e-3)
    assert oldest == pytest.approx(newest / 4, rel=1e-3)


@pytest.mark.parametrize("mode", ["hybrid", "semantic", "keyword"])
async def test_the_parts_of_a_score_add_up_to_it(
    database: Database, searcher: Searcher, worker: Worker, caller: Caller, mode: str
) -> None:
    await remember(database, worker, caller)
    question = Question(query='who paid for the "lighthouse lamp"', mode="hybrid", explain=True)
    answer = await searcher.recall(caller, question.model_copy(update={"mode": mode}))
    assert answer.results
    for hit in answer.results:
        assert hit.explain is not None
        assert hit.explain["words"] + hit.explain["meaning"] == pytest.approx(hit.score)
        assert sum(hit.explain["by_word"].values()) == pytest.approx(hit.explain["words"])


async def test_a_cross_encoder_reorders_the_first_candidates_and_nothing_else(
    database: Database,
    profile: Profile,
    model: Model,
    worker: Worker,
    caller: Caller,
    tmp_path: Path,
) -> None:
    await remember(database, worker, caller)
    reranker = Reranker(str(tiny_cross_encoder(tmp_path)))
    searcher = Searcher(database, profile, model.questions, reranker)
    plain = await searcher.recall(caller, Question(query="lighthouse lamp", limit=12))
    again = await searcher.recall(caller, Question(query="lighthouse lamp", limit=12, rerank=5))
    texts = [hit.content for hit in plain.results[:5]]
    order = await reranker.order("lighthouse lamp", texts)
    assert [hit.content for hit in again.results[:5]] == [texts[place] for place in order]
    assert [hit.id for hit in again.results[5:]] == [hit.id for hit in plain.results[5:]]
    short = await searcher.recall(caller, Question(query="lighthouse lamp", limit=2, rerank=5))
    assert [hit.id for hit in short.results] == [hit.id for hit in again.results[:2]]


async def test_asking_for_a_second_look_without_a_model_says_what_to_set(
    searcher: Searcher, caller: Caller
) -> None:
    with pytest.raises(Invalid, match="RECALL_RERANKER"):
        await searcher.recall(caller, Question(query="x", rerank=5))


def tiny_cross_encoder(folder: Path) -> Path:
    """Save a cross-encoder of random weights over single letters, and return its folder."""
    import torch
    from sentence_transformers import CrossEncoder
    from transformers import BertConfig, BertForSequenceClassification, BertTokenizer

    torch.manual_seed(0)
    letters = "abcdefghijklmnopqrstuvwxyz"
    vocabulary = [
        "[PAD]",
        "[UNK]",
        "[CLS]",
        "[SEP]",
        "[MASK]",
        *letters,
        *(f"##{c}" for c in letters),
    ]
    (folder / "vocab.txt").write_text("\n".join(vocabulary))
    config = BertConfig(
        vocab_size=len(vocabulary),
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=32,
        num_labels=1,  # type: ignore[call-arg]  # of every configuration, by keyword
    )
    saved = folder / "model"
    BertForSequenceClassification(config).save_pretrained(saved)
    BertTokenizer(str(folder / "vocab.txt")).save_pretrained(saved)
    CrossEncoder(str(saved)).save_pretrained(str(folder / "encoder"))
    return folder / "encoder"


async def test_the_doctor_finds_nothing_in_a_healthy_index_and_mends_a_broken_one(
    database: Database, worker: Worker, caller: Caller, owner: psycopg.Connection[object]
) -> None:
    await remember(database, worker, caller)
    assert not any(finding.found for finding in await doctor.examine(database, fix=False))
    before = owner.execute(
        "select word, sum(chunks) from word_count group by 1 order by 1"
    ).fetchall()
    owner.execute("update word_count set chunks = chunks + 7 where word like '%lamp'")
    owner.execute("delete from corpus_count")
    owner.execute("delete from embedding where chunk_id = (select min(chunk_id) from embedding)")
    owner.execute("delete from chunk where memory_id = (select max(memory_id) from chunk)")
    broken = {f.counts: f.found for f in await doctor.examine(database, fix=False) if f.found}
    assert set(broken) == {
        "chunks without a vector",
        "memories neither indexed nor queued",
        "word counts that are off",
        "tenants whose size is off",
    }
    assert all(f.repaired for f in await doctor.examine(database, fix=True) if f.found)
    await worker.drain()
    assert not any(finding.found for finding in await doctor.examine(database, fix=False))
    after = owner.execute(
        "select word, sum(chunks) from word_count group by 1 order by 1"
    ).fetchall()
    assert after == before
