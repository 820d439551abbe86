"""Which engine runs a model here: the fastest that proves to give the same vectors.

The bound on int8 is that R@10 loses at most half a point. Measured with the packaged model, cosine
alone: 48.29 → 48.24 on chats (997 questions), 6.31 → 6.04 on meetings (63), 42.08 → 41.81 on
abstracts (225), each within its standard error, at a mean cosine of 0.997 to float32.
"""

from __future__ import annotations

import logging
import platform
import sys
import time
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from recall.contract.errors import Misconfigured
from recall.embedding.embedder import ENGINES, WHOLE, TokenEmbedder
from recall.embedding.identity import ModelIdentity
from recall.embedding.sentences import TESTS

if TYPE_CHECKING:
    from collections.abc import Container

    from recall.embedding.derived import Store
    from recall.embedding.embedder import Embedder, Vectors
    from recall.embedding.identity import ModelFolder

log = logging.getLogger("recall.embedding")

BOUNDS = {"cpu-int8": (0.985, 0.95)}  # cosine to float32: mean, least
OTHERS = (0.995, 0.995)
REPEATS = 4  # of the test sentences in a timed run: enough for every thread to get a batch


@dataclass(frozen=True)
class Trial:
    """How an engine did: the cosines of its vectors to float32's, and its rate."""

    mean_cosine: float
    least_cosine: float
    texts_per_second: float

    def passes(self, engine: str) -> bool:
        """Return whether the vectors are close enough to stand in for float32's."""
        mean, least = BOUNDS.get(engine, OTHERS)
        return self.mean_cosine >= mean and self.least_cosine >= least


def machine_fingerprint() -> dict[str, str]:
    """Return what the choice of an engine depends on: processor, GPU, libraries' versions."""
    libraries = ("torch", "sentence-transformers", "transformers", "tokenizers", "onnxruntime")
    return {
        "processor": processor(),
        "gpu": str(has_gpu()),
        **{library: library_version(library) for library in libraries},
    }


def has_gpu() -> bool:
    """Return whether the system shows a device that torch could use by CUDA."""
    return any(Path("/dev").glob("nvidia[0-9]*")) or Path("/dev/dxg").exists()


def processor() -> str:
    """Return the processor's name and a summary of its instruction sets."""
    listing = Path("/proc/cpuinfo")
    lines = listing.read_text().splitlines() if listing.is_file() else []
    facts = [line for line in lines if line.startswith(("model name", "flags", "Features"))]
    return " ".join(sorted(set(facts)))[:4000] or platform.processor() or platform.machine()


def library_version(library: str) -> str:
    """Return a library's version, "absent" when it is not there."""
    try:
        return version(library)
    except PackageNotFoundError:
        return "absent"


def reopen(folder: ModelFolder, store: Store, engine: str, threads: int) -> Embedder | None:
    """Return the int8 graph of an earlier start, opened without torch; None if it is not wanted.

    "auto" wants it where it was chosen on this processor with these libraries.
    """
    wanted = store.chosen(machine_fingerprint()) if engine == "auto" else engine
    if wanted != "cpu-int8" or not store.intact():
        return None
    from recall.embedding.engines.onnx_engine import OnnxEngine

    described, tokens = store.read()
    identity = ModelIdentity(folder.name, folder.revision, described.dimension)
    return TokenEmbedder(folder, identity, tokens, OnnxEngine(store.graph, threads))


def open_named(folder: ModelFolder, store: Store, engine: str, threads: int) -> Embedder:
    """Open one engine, deriving its files if need be; raises Misconfigured where it cannot run."""
    if engine.startswith("cuda") and sys.platform == "linux" and not has_gpu():
        raise Misconfigured(f"Engine {engine} needs a CUDA device, and this machine shows none.")
    from recall.embedding.engines import derive

    if engine == "cpu-int8":
        derive.derive_int8(folder, store)
        opened = reopen(folder, store, engine, threads)
        assert opened is not None
        return opened
    return derive.open_torch(folder, engine, threads)


def choose(folder: ModelFolder, store: Store, threads: int) -> Embedder:
    """Try the engines, the fastest kind first; return the fastest that passes and remember it.

    Raises Misconfigured when the one that an earlier start remembered cannot run.
    """
    from recall.embedding.engines import derive

    known = store.chosen(machine_fingerprint())
    if known is not None:
        return open_named(folder, store, known, threads)
    reference = derive.open_torch(folder, WHOLE, threads)
    expected = trial_vectors(reference)
    passed: dict[str, Embedder] = {}
    tested: dict[str, Trial] = {}
    for engine in ENGINES:
        if not worth_trying(engine, passed):
            continue
        try:
            candidate = open_named(folder, store, engine, threads)
        except Misconfigured as reason:
            log.info("Engine %s is out: %s", engine, reason)
            continue
        tested[engine] = try_engine(candidate, expected)
        if tested[engine].passes(engine):
            passed[engine] = candidate
    best = max(passed, key=lambda engine: tested[engine].texts_per_second, default=WHOLE)
    log.info("Engine %s chosen for %s: %s", best, folder.name, tested)
    store.choose(best, machine_fingerprint(), {name: asdict(t) for name, t in tested.items()})
    return passed.get(best, reference)


def worth_trying(engine: str, passed: Container[str]) -> bool:
    """Return whether an engine may be the fastest beside those that `passed`; others cost time."""
    if "cuda-float16" in passed:
        return False
    if engine == "cpu-bfloat16":
        return "bf16" in processor()  # emulated elsewhere, at a fraction of float32's rate
    return engine != "cpu-float32" or not passed


def try_engine(candidate: Embedder, expected: Vectors) -> Trial:
    """Return how an engine's vectors agree with the `expected`, and its rate on the same texts."""
    cosines = agreement(trial_vectors(candidate), expected)
    begun = time.perf_counter()
    candidate.embed_documents(TESTS * REPEATS)
    rate = len(TESTS) * REPEATS / (time.perf_counter() - begun)
    return Trial(float(cosines.mean()), float(cosines.min()), round(rate, 1))


def agreement(vectors: Vectors, expected: Vectors) -> Vectors:
    """Return the cosine of each vector to the expected one, both less the mean of the expected.

    Many models keep all vectors in a narrow cone, where a wrong vector has a high cosine to the
    right one, as unrelated texts have; without their mean it has not.
    """
    middle = expected.mean(axis=0)
    ours, theirs = vectors - middle, expected - middle
    lengths = np.linalg.norm(ours, axis=1) * np.linalg.norm(theirs, axis=1)
    cosines: Vectors = np.sum(ours * theirs, axis=1) / np.maximum(lengths, 1e-12)
    return cosines


def trial_vectors(embedder: Embedder) -> Vectors:
    """Return the vectors of all test sentences together, of a few alone, and of some as queries."""
    alone = [embedder.embed_documents([text]) for text in TESTS[:3]]
    together = embedder.embed_documents(TESTS)
    return np.concatenate([together, *alone, embedder.embed_queries(TESTS[:6])])
