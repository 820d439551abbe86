"""One model, several engines, the same vectors: what opening, embedding and caching promise."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
import sys
import threading
from typing import TYPE_CHECKING

import models_tiny as tiny
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recall.contract.errors import Misconfigured, ModelCorrupt, ModelMissing
from recall.embedding import Model, choice, cores, identity, open_embedder
from recall.embedding.batches import by_length, fill, padding_share
from recall.embedding.choice import Trial, agreement
from recall.embedding.derived import GRAPH, LISTING, TOKENIZER, Store
from recall.embedding.embedder import ENGINES, Embedder, TokenEmbedder, Vectors
from recall.embedding.identity import open_folder, packaged_folder
from recall.embedding.measure import compare_with_library
from recall.embedding.sentences import SAMPLES, TESTS
from recall.embedding.tokens import Rows

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence
    from pathlib import Path

    from recall.embedding.questions import Vector

TEXTS = (
    "The cat sleeps.",
    "Where?",
    "a dog RUNS to the old red book and eats, or not, when the sun walks home from work!",
    "   the river: blue hill ",
    "zebra 42 xylophone",
    "the lamp " * 60,
    "who walks home and when",
)
# Cosine, seen from the middle of all vectors: random weights are the hardest case to round.
CLOSE = {"cpu-int8": 0.95, "cpu-bfloat16": 0.96, "cpu-float32": 0.99999}

TINY: dict[str, Callable[[Path], Path]] = {
    "mean": lambda folder: tiny.pooled(folder, "mean"),
    "cls": lambda folder: tiny.pooled(folder, "cls"),
    "max": lambda folder: tiny.pooled(folder, "max"),
    "prompted": tiny.prompted,
    "projected": tiny.projected,
}


@pytest.fixture(scope="module")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], tuple[Path, Path]]:
    """Give the folder of a tiny model and a home that it shares with all tests."""
    root = tmp_path_factory.mktemp("tiny")

    def take(name: str) -> tuple[Path, Path]:
        folder = root / name / "model"
        return folder if folder.is_dir() else TINY[name](root / name), root / "home"

    return take


@pytest.fixture(scope="module")
def packaged_home(tmp_path_factory: pytest.TempPathFactory, models: Path) -> Path:
    home = tmp_path_factory.mktemp("home")
    (home / "models").symlink_to(models)
    return home


@pytest.fixture(scope="module")
def packaged(packaged_home: Path) -> Embedder:
    """The packaged model as a first start on this machine opens it."""
    return open_embedder(None, packaged_home)


@pytest.fixture(scope="module")
def packaged_int8(packaged: Embedder, packaged_home: Path) -> Embedder:
    return open_embedder(None, packaged_home, "cpu-int8")


def library_vectors(folder: Path, texts: Sequence[str], prompt: str = "") -> Vectors:
    """Return what sentence-transformers says itself, in float32 with its defaults."""
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(str(folder), device="cpu")
    return model.encode(list(texts), prompt=prompt, normalize_embeddings=True)


# -- every engine says what the library says -------------------------------------------------------


@pytest.mark.parametrize("name", TINY)
def test_each_engine_agrees_with_the_library(
    name: str, shelf: Callable[[str], tuple[Path, Path]]
) -> None:
    folder, home = shelf(name)
    prompts = ("passage: ", "query: ") if name == "prompted" else ("", "")
    documents, queries = (library_vectors(folder, TEXTS, prompt) for prompt in prompts)
    for engine in ENGINES[1:]:
        embedder = open_embedder(str(folder), home, engine)
        assert embedder.engine == engine
        assert embedder.dimension == embedder.identity.dimension == documents.shape[1]
        found, asked = embedder.embed_documents(TEXTS), embedder.embed_queries(TEXTS)
        assert found.dtype == asked.dtype == np.float32
        np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, atol=1e-5)
        assert agreement(found, documents).min() > CLOSE[engine], engine
        assert agreement(asked, queries).min() > CLOSE[engine], engine


def test_the_packaged_model_in_int8_agrees_with_the_library(packaged_int8: Embedder) -> None:
    texts = [*SAMPLES, *TESTS, "naïve café 你好 🎉", "a" * 300, "word " * 700]
    expected = library_vectors(packaged_folder(), texts)
    cosines = np.sum(packaged_int8.embed_documents(texts) * expected, axis=1)
    assert cosines.mean() > 0.995
    assert cosines.min() > 0.97


@pytest.mark.usefixtures("shelf")
def test_a_model_that_takes_more_than_token_ids_runs_as_the_library_runs_it(tmp_path: Path) -> None:
    from recall.embedding.engines.whole import WholeEmbedder

    without_prompt = tiny.prompted(tmp_path / "prompted", include_prompt=False)
    for folder, prompt in ((tiny.static(tmp_path / "static"), ""), (without_prompt, "passage: ")):
        embedder = open_embedder(str(folder), tmp_path / "home")
        assert isinstance(embedder, WholeEmbedder)
        expected = library_vectors(folder, TEXTS, prompt)
        np.testing.assert_allclose(embedder.embed_documents(TEXTS), expected, atol=1e-5)
        assert embedder.embed_queries([]).shape == (0, tiny.WIDTH)
        assert embedder.token_offsets(["the cat"]) == [[(0, 3), (4, 7)]]
        with pytest.raises(Misconfigured, match="cpu-float32 only"):
            open_embedder(str(folder), tmp_path / "home", "cpu-int8")


# -- what a caller may rely on ---------------------------------------------------------------------


@pytest.mark.parametrize("engine", ENGINES[1:])
def test_a_vector_depends_neither_on_its_place_nor_on_its_company(
    engine: str, packaged: Embedder, packaged_home: Path
) -> None:
    embedder = open_embedder(None, packaged_home, engine)
    texts = [*TESTS, *SAMPLES[:8], "loud 你好 " * 50]
    together = embedder.embed_documents(texts)
    backwards = embedder.embed_documents(texts[::-1])[::-1]
    alone = np.concatenate([embedder.embed_documents([text]) for text in texts[:12]])
    bound = 0.9998 if engine == "cpu-bfloat16" else 0.99999
    assert np.sum(together * backwards, axis=1).min() > bound
    assert np.sum(together[:12] * alone, axis=1).min() > bound


def test_nothing_gives_no_vectors_and_emptiness_gives_one(packaged_int8: Embedder) -> None:
    assert packaged_int8.embed_documents([]).shape == (0, 384)
    assert packaged_int8.embed_queries([]).dtype == np.float32
    assert packaged_int8.embed_documents(["", " "]).shape == (2, 384)


def test_max_tokens_is_how_much_of_a_document_is_read(
    shelf: Callable[[str], tuple[Path, Path]],
) -> None:
    folder, home = shelf("prompted")
    embedder = open_embedder(str(folder), home, "cpu-float32")
    assert embedder.max_tokens == tiny.LONGEST - len(["[CLS]", "passage", ":", "[SEP]"])
    words = ["cat", "dog", "river"] * tiny.LONGEST
    whole, more, less = (" ".join(words[: embedder.max_tokens + extra]) for extra in (0, 9, -1))
    a, b, c = embedder.embed_documents([whole, more, less])
    assert np.allclose(a, b, atol=1e-6)
    assert not np.allclose(a, c, atol=1e-4)


def test_offsets_point_at_the_tokens_of_a_text_and_at_nothing_else(packaged: Embedder) -> None:
    text = "Hello world, naïve tokenizations"
    (offsets,) = packaged.token_offsets([text])
    pieces = ["Hello", "world", ",", "naïve", "token", "izations"]
    assert [text[start:end] for start, end in offsets] == pieces
    assert packaged.token_offsets([]) == []
    assert packaged.token_offsets([""]) == [[]]
    assert packaged.max_tokens == 254


def test_a_measurement_names_rates_latencies_padding_and_agreement(packaged_int8: Embedder) -> None:
    measured = compare_with_library(packaged_int8, TESTS[:10])
    assert measured["engine"] == "cpu-int8"
    assert measured["texts"] == 10
    assert measured["texts_per_second"] > measured["library_texts_per_second"]
    assert measured["query_ms"] < measured["library_query_ms"]
    assert measured["mean_cosine"] > 0.99
    assert 0 <= measured["padding"] < 0.5


# -- opening: identity, choice, cache --------------------------------------------------------------


def test_the_packaged_model_is_refused_when_its_bytes_differ(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(identity.PACKAGED_SHA256, "tokenizer.json", "0" * 64)
    with pytest.raises(ModelCorrupt, match=r"tokenizer\.json should have SHA-256 0000"):
        open_embedder(None, tmp_path)


@pytest.mark.usefixtures("shelf")
def test_what_is_no_model_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ModelMissing, match="holds no model"):
        open_embedder(str(tmp_path), tmp_path)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(ModelMissing, match="cannot be fetched"):
        open_embedder("nobody/no-such-model", tmp_path)
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(ModelMissing, match="cannot be opened"):
        open_embedder(str(tmp_path), tmp_path / "home", "cpu-float32")


def test_an_engine_that_does_not_exist_or_cannot_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Misconfigured, match="'gpu' is none of auto, cuda-float16"):
        open_embedder(None, tmp_path, "gpu")


def test_a_revision_follows_the_bytes_and_nothing_else(
    tmp_path: Path, shelf: Callable[[str], tuple[Path, Path]]
) -> None:
    folder, _ = shelf("prompted")
    copy = shutil.copytree(folder, tmp_path / "elsewhere")
    (copy / "README.md").write_text("changed")
    before = open_folder(str(copy))
    assert before.revision == open_folder(str(folder)).revision
    assert len(before.revision) == 16
    settings = copy / "config_sentence_transformers.json"
    settings.write_text(settings.read_text().replace("passage: ", "text: "))
    assert open_folder(str(copy)).revision != before.revision


def test_the_choice_is_measured_once_and_remembered(
    packaged: Embedder, packaged_home: Path
) -> None:
    store = Store(packaged_home, packaged.identity.revision)
    assert store.chosen(choice.machine_fingerprint()) == packaged.engine
    assert store.chosen({"processor": "another"}) is None


def test_an_engine_that_disagrees_is_not_chosen(
    shelf: Callable[[str], tuple[Path, Path]], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, home = shelf("mean")
    monkeypatch.setattr(choice, "BOUNDS", {"cpu-float32": (0.9999, 0.9999)})
    monkeypatch.setattr(choice, "OTHERS", (1.1, 1.1))
    assert open_embedder(str(folder), home).engine == "cpu-float32"
    assert Trial(0.99, 0.94, 9000.0).passes("cpu-int8") is False


def test_a_later_start_imports_no_torch(packaged_int8: Embedder, packaged_home: Path) -> None:
    said = run_python(
        "vector = open_embedder(None, home, 'cpu-int8').embed_queries(['where?'])\n"
        "print(vector.shape, 'torch' in sys.modules, 'sentence_transformers' in sys.modules)",
        packaged_home,
    )
    assert said == "(1, 384) False False"


def test_a_damaged_cache_is_made_again(shelf: Callable[[str], tuple[Path, Path]]) -> None:
    folder, home = shelf("mean")
    embedder = open_embedder(str(folder), home, "cpu-int8")
    expected = embedder.embed_documents(TEXTS)
    store = Store(home, embedder.identity.revision)
    assert store.intact()
    for name in (TOKENIZER, LISTING, GRAPH):
        whole = (store.folder / name).read_bytes()
        (store.folder / name).write_bytes(whole[:-100])
        assert not store.intact()
        (store.folder / name).unlink()
        assert not store.intact()
        (store.folder / name).write_bytes(whole)
    store.graph.write_bytes(whole[:-100])
    again = open_embedder(str(folder), home, "cpu-int8")
    assert store.intact()
    np.testing.assert_allclose(again.embed_documents(TEXTS), expected, atol=1e-6)
    assert not list(store.folder.glob(".new-*"))


def test_two_first_starts_at_once_build_once(
    shelf: Callable[[str], tuple[Path, Path]], tmp_path: Path
) -> None:
    folder, _ = shelf("max")
    program = (
        f"embedder = open_embedder({str(folder)!r}, home, 'cpu-int8')\n"
        "print(embedder.embed_documents(['the cat']).shape,"
        " 'recall.embedding.engines.onnx_export' in sys.modules)"
    )
    both = [start_python(program, tmp_path) for _ in range(2)]
    said = sorted(finish(process) for process in both)
    assert said == ["(1, 32) False", "(1, 32) True"]
    assert (next((tmp_path / "models").iterdir()) / GRAPH).is_file()


def start_python(program: str, home: Path) -> subprocess.Popen[str]:
    begin = f"import sys; from pathlib import Path; home = Path({str(home)!r})\n"
    begin += "from recall.embedding import open_embedder\n"
    return subprocess.Popen(
        [sys.executable, "-W", "error", "-c", begin + program],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(process: subprocess.Popen[str]) -> str:
    out, problems = process.communicate(timeout=120)
    assert process.returncode == 0, problems
    return out.strip()


def run_python(program: str, home: Path) -> str:
    return finish(start_python(program, home))


# -- the hot loop's parts --------------------------------------------------------------------------


@given(st.lists(st.integers(1, 40), min_size=1, max_size=60), st.integers(1, 100))
def test_batches_hold_every_token_once_within_the_budget(lengths: list[int], budget: int) -> None:
    rows = Rows(np.arange(1, sum(lengths) + 1), np.array(lengths))
    order = by_length(rows)
    batches = list(fill(rows, order, budget, 0))
    assert all(batch.mask.size <= budget or len(batch.mask) == 1 for batch in batches)
    assert all(np.array_equal(batch.ids > 0, batch.mask > 0) for batch in batches)
    found = [list(ids[ids > 0]) for batch in batches for ids in batch.ids]
    expected = [list(rows.ids[rows.starts[i] :][: lengths[i]]) for i in order]
    assert found == expected
    assert 0 <= padding_share(batches) < 1


def test_sorting_leaves_little_padding(packaged_int8: Embedder) -> None:
    assert isinstance(packaged_int8, TokenEmbedder)
    texts = ["word " * (1 + number % 50) for number in range(2_000)]
    assert padding_share(packaged_int8.document_batches(texts)) < 0.03


def test_cores_are_those_that_a_container_may_spend(tmp_path: Path) -> None:
    assert cores.usable_cores() >= 1
    limit = tmp_path / "cpu.max"
    assert cores.quota(limit) > 1_000
    for told, expected in (("max 100000", 1 << 16), ("250000 100000", 2), ("50000 100000", 1)):
        limit.write_text(told)
        assert cores.quota(limit) == expected


# -- the model behind an event loop ---------------------------------------------------------------


class Gated:
    """A stand-in for a model that answers when told to, and tells what it was asked."""

    dimension = 2

    def __init__(self, concurrent: bool = True) -> None:
        self.concurrent = concurrent
        self.gate = threading.Event()
        self.calls: list[list[str]] = []
        self.entered = threading.Event()

    def embed_queries(self, texts: Sequence[str]) -> Vectors:
        self.calls.append(list(texts))
        self.entered.set()
        assert self.gate.wait(10)
        if "poison" in texts:
            raise ValueError("poison")
        return np.array([[len(text), 1] for text in texts], np.float32)

    def embed_documents(self, texts: Sequence[str]) -> Vectors:
        self.calls.append([f"document {len(text)}" for text in texts])
        self.entered.set()
        return np.array([[len(text), 1] for text in texts], np.float32)


@pytest.fixture
def gated() -> Gated:
    return Gated()


@pytest.fixture
async def model(gated: Gated) -> AsyncIterator[Model]:
    model = Model(gated, remembered=3)  # type: ignore[arg-type]
    yield model
    gated.gate.set()
    await model.aclose()


async def first_under_way(gated: Gated, model: Model) -> asyncio.Task[Vector]:
    """Ask a question and return when the model works on it."""
    first = asyncio.create_task(model.questions.embed("first"))
    assert await asyncio.to_thread(gated.entered.wait, 10)
    return first


@pytest.mark.anyio
async def test_the_first_question_goes_at_once_and_the_next_ones_together(
    gated: Gated, model: Model
) -> None:
    first = await first_under_way(gated, model)
    others = [asyncio.create_task(model.questions.embed(text)) for text in ("b", "cc", "b", "ddd")]
    await asyncio.sleep(0)
    gated.gate.set()
    vectors = await asyncio.gather(first, *others)
    assert [int(vector[0]) for vector in vectors] == [5, 1, 2, 1, 3]
    assert gated.calls == [["first"], ["b", "cc", "ddd"]]


@pytest.mark.anyio
async def test_recent_questions_are_remembered_and_old_ones_forgotten(
    gated: Gated, model: Model
) -> None:
    gated.gate.set()
    for text in ("a", "b", "c", "a", "d", "a", "b"):
        vector = await model.questions.embed(text)
        assert not vector.flags.writeable
    assert gated.calls == [["a"], ["b"], ["c"], ["d"], ["b"]]


@pytest.mark.anyio
async def test_giving_up_harms_nobody_else(gated: Gated, model: Model) -> None:
    first = await first_under_way(gated, model)
    impatient, patient = (asyncio.create_task(model.questions.embed("same")) for _ in range(2))
    lonely = asyncio.create_task(model.questions.embed("lonely"))
    await asyncio.sleep(0)
    for task in (first, impatient, lonely):
        task.cancel()
    gated.gate.set()
    assert (await patient)[0] == 4
    gone = await asyncio.gather(first, impatient, lonely, return_exceptions=True)
    assert all(isinstance(each, asyncio.CancelledError) for each in gone)
    assert (await model.questions.embed("first"))[0] == 5


@pytest.mark.anyio
async def test_an_error_reaches_everybody_who_waits_and_nobody_after(
    gated: Gated, model: Model
) -> None:
    first = await first_under_way(gated, model)
    ill = [asyncio.create_task(model.questions.embed(text)) for text in ("poison", "beside")]
    await asyncio.sleep(0)
    gated.gate.set()
    said = await asyncio.gather(first, *ill, return_exceptions=True)
    assert [str(each) for each in said[1:]] == ["poison", "poison"]
    assert (await model.questions.embed("beside"))[0] == 6
    with pytest.raises(UnicodeEncodeError):
        await model.questions.embed("\ud800")


@pytest.mark.anyio
async def test_documents_come_back_in_order_and_let_questions_pass() -> None:
    gated = Gated(concurrent=False)
    gated.gate.set()
    model = Model(gated)  # type: ignore[arg-type]
    lengths = [(7 * number) % 2_000 + 1 for number in range(2_000)]
    job = asyncio.create_task(model.documents.embed(["x" * length for length in lengths]))
    assert await asyncio.to_thread(gated.entered.wait, 10)
    assert (await model.questions.embed("question"))[0] == 8
    assert not job.done()
    assert (await job)[:, 0].tolist() == lengths
    assert ["question"] in gated.calls[1:-1]
    assert (await model.documents.embed([])).shape == (0, 2)
    await model.aclose()


@pytest.mark.anyio
async def test_closing_answers_what_was_asked_and_refuses_the_rest(gated: Gated) -> None:
    model = Model(gated)  # type: ignore[arg-type]
    first = await first_under_way(gated, model)
    closing = asyncio.create_task(model.aclose())
    await asyncio.sleep(0)
    with pytest.raises(RuntimeError, match="closed"):
        await model.questions.embed("late")
    gated.gate.set()
    await closing
    assert (await first)[0] == 5
    assert not [thread for thread in threading.enumerate() if "recall-q" in thread.name]
