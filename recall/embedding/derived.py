"""Files derived from a model by a first start, for every later one: a folder per revision.

No file is trusted: its SHA-256 is in a listing that is written last, so a file that was cut short,
damaged or half replaced is derived again instead of being loaded.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from recall.base.folders import check_writable
from recall.embedding.tokens import Reading, Tokens

if TYPE_CHECKING:
    from collections.abc import Iterator

try:
    from fcntl import LOCK_EX, flock
except ImportError:  # Windows: two first starts at once do the work twice, and replace files whole
    flock = None  # type: ignore[assignment]

RECIPE = 2  # raise it whenever the graph is built differently: older files are then made again
GRAPH, TOKENIZER, DESCRIPTION = "int8.onnx", "tokenizer.json", "description.json"
DERIVED = (GRAPH, TOKENIZER, DESCRIPTION)
LISTING, LOCK = "SHA256SUMS", "lock"


@dataclass(frozen=True)
class Description:
    """What must be known of a model besides its graph and tokenizer."""

    dimension: int
    document: Reading
    query: Reading
    pad: int
    recipe: int = RECIPE


class Store:
    """The files of one model revision under `home/models/<revision>/`."""

    def __init__(self, home: Path, revision: str) -> None:
        self.folder = home / "models" / revision
        self.graph = self.folder / GRAPH

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Let one process at a time derive files; the others wait and then find them.

        Raises Misconfigured when nothing can be kept here.
        """
        check_writable(self.folder, "RECALL_HOME")
        handle = (self.folder / LOCK).open("w")
        with handle:
            if flock is not None:
                flock(handle, LOCK_EX)
            yield

    @contextmanager
    def replacing(self) -> Iterator[Path]:
        """Yield an empty folder; what is written there replaces the stored files if all went well.

        The listing goes last: whoever reads in between finds a digest that does not fit.
        """
        for left in self.folder.glob(".new-*"):  # of starts that were killed: the lock is ours
            shutil.rmtree(left, ignore_errors=True)
        with tempfile.TemporaryDirectory(dir=self.folder, prefix=".new-") as temporary:
            yield Path(temporary)
            listing = listing_of(Path(temporary))
            for name in DERIVED:
                (Path(temporary) / name).replace(self.folder / name)
            replace_file(self.folder / LISTING, listing)

    def intact(self) -> bool:
        """Return whether the graph and its files are there, whole, and made by this RECIPE."""
        listing = self.folder / LISTING
        if not listing.is_file() or listing.read_bytes() != listing_of(self.folder).encode():
            return False
        recipe: int = json.loads((self.folder / DESCRIPTION).read_text())["recipe"]
        return recipe == RECIPE

    def read(self) -> tuple[Description, Tokens]:
        """Return the description and the tokenizer of the graph; only after `intact`."""
        fields = json.loads((self.folder / DESCRIPTION).read_text())
        document, query = (Reading(**fields.pop(name)) for name in ("document", "query"))
        described = Description(**fields, document=document, query=query)
        serialized = (self.folder / TOKENIZER).read_text(encoding="utf-8")
        tokens = Tokens(serialized, described.document, described.query, described.pad)
        return described, tokens

    def chosen(self, fingerprint: dict[str, str]) -> str | None:
        """Return the engine chosen on this very machine with these very libraries, if any."""
        try:
            choice = json.loads(self._choice(fingerprint).read_text())
            return str(choice["engine"])
        except (OSError, ValueError, KeyError, TypeError):
            return None  # absent or damaged: choose again

    def choose(self, engine: str, fingerprint: dict[str, str], tested: dict[str, Any]) -> None:
        """Remember an engine, where it was chosen and what it was chosen from."""
        choice = {"engine": engine, "fingerprint": fingerprint, "tested": tested}
        replace_file(self._choice(fingerprint), json.dumps(choice, indent=2))

    def _choice(self, fingerprint: dict[str, str]) -> Path:
        # A file per kind of machine: several may share a home.
        digest = hashlib.sha256(json.dumps(fingerprint, sort_keys=True).encode()).hexdigest()
        return self.folder / f"choice-{digest[:12]}.json"


def describe(described: Description, tokens: Tokens, folder: Path) -> None:
    """Write what belongs to a graph beside it."""
    (folder / DESCRIPTION).write_text(json.dumps(asdict(described), indent=2))
    (folder / TOKENIZER).write_text(tokens.serialized, encoding="utf-8")


def listing_of(folder: Path) -> str:
    """Return the derived files of a folder with their digests, as `sha256sum` prints them."""
    return "".join(f"{digest_of(folder / name)}  {name}\n" for name in DERIVED)


def digest_of(file: Path) -> str:
    """Return a file's SHA-256; "missing" when there is none."""
    if not file.is_file():
        return "missing"
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def replace_file(file: Path, text: str) -> None:
    """Replace a file as a whole: a reader sees the old text or the new one, never a part."""
    temporary = file.with_name(f".{file.name}-{os.getpid()}")
    temporary.write_text(text)
    temporary.replace(file)
