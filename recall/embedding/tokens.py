"""Texts to token ids: one call of the Rust tokenizer for a whole list, prompts included."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

if TYPE_CHECKING:
    from collections.abc import Sequence

Ids = NDArray[np.int64]
Offsets = list[tuple[int, int]]


@dataclass(frozen=True)
class Reading:
    """How a model reads one kind of text: the prompt before it, the most tokens it takes."""

    prompt: str
    max_length: int  # tokens, prompt and special tokens included


@dataclass(frozen=True)
class Rows:
    """Token ids of many texts laid end to end: text i begins at starts[i]."""

    ids: Ids
    lengths: Ids

    @property
    def starts(self) -> Ids:
        """Return where each text begins in `ids`."""
        return np.cumsum(self.lengths) - self.lengths


class Tokens:
    """A model's tokenizer with its two readings, of documents and of queries.

    Any number of threads may read: a limit is a state of the Rust object, so each reading holds
    its own copy and nothing changes after construction.
    """

    def __init__(self, serialized: str, document: Reading, query: Reading, pad: int) -> None:
        self.serialized = serialized
        self.document = document
        self.query = query
        self.pad = pad
        self._plain = Tokenizer.from_str(serialized)
        self._plain.no_padding()
        self._plain.no_truncation()
        self._cut = {reading: cutting(serialized, reading) for reading in {document, query}}

    @property
    def max_tokens(self) -> int:
        """Content tokens that a document may have before its end is cut off."""
        special = int(self._plain.num_special_tokens_to_add(False))
        prompt = len(self._plain.encode(self.document.prompt, add_special_tokens=False).ids)
        return max(1, self.document.max_length - special - prompt)

    def read(self, texts: Sequence[str], reading: Reading) -> Rows:
        """Return the token ids of every text, prompt and special tokens included.

        A text without a single token reads as one padding token: it still gets a vector.
        """
        prompted = [reading.prompt + text for text in texts]
        encodings = self._cut[reading].encode_batch_fast(prompted)
        rows = [encoding.ids or [self.pad] for encoding in encodings]
        lengths = np.fromiter(map(len, rows), np.int64, len(rows))
        ids = np.fromiter(chain.from_iterable(rows), np.int64, int(lengths.sum()))
        return Rows(ids, lengths)

    def offsets(self, texts: Sequence[str]) -> list[Offsets]:
        """Return for each text the (start, end) characters of its tokens, without special ones."""
        encodings = self._plain.encode_batch(list(texts), add_special_tokens=False)
        return [encoding.offsets for encoding in encodings]


def cutting(serialized: str, reading: Reading) -> Tokenizer:
    """Return a tokenizer that cuts every text at the reading's length."""
    tokenizer = Tokenizer.from_str(serialized)
    tokenizer.no_padding()
    direction = (tokenizer.truncation or {}).get("direction", "right")
    tokenizer.enable_truncation(reading.max_length, direction=direction)
    return tokenizer
