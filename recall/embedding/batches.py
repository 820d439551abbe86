"""Rows of tokens to rectangles: rows of like length share a batch, so little of it is padding."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from recall.embedding.tokens import Ids, Rows


@dataclass(frozen=True)
class TokenBatch:
    """A rectangle of token ids with the mask of real ones, both [rows, width]."""

    ids: Ids
    mask: Ids


def by_length(rows: Rows) -> Ids:
    """Return the rows' numbers, shortest text first; equal lengths keep their order."""
    return np.argsort(rows.lengths, kind="stable")


def fill(rows: Rows, order: Ids, budget: int, pad: int) -> Iterator[TokenBatch]:
    """Yield batches of at most `budget` tokens, padding included, in the order given.

    `order` must be ascending in length: the last row of a batch is then its width. A row longer
    than the budget gets a batch of its own.
    """
    lengths = rows.lengths[order]
    starts = rows.starts[order]
    first = 0
    while first < len(order):
        # cost[i] = tokens, padding included, of a batch of the next rows 0..i. It never decreases,
        # so searchsorted finds the last row that fits.
        ahead = lengths[first : first + budget]
        cost = ahead * np.arange(1, len(ahead) + 1)
        last = first + max(1, int(np.searchsorted(cost, budget, side="right")))
        yield rectangle(rows.ids, starts[first:last], lengths[first:last], pad)
        first = last


def rectangle(ids: Ids, starts: Ids, lengths: Ids, pad: int) -> TokenBatch:
    """Return rows of a flat array as one padded rectangle, gathered without a loop over rows."""
    columns = np.arange(lengths[-1])
    real = columns < lengths[:, None]
    cells = np.minimum(starts[:, None] + columns, len(ids) - 1)
    return TokenBatch(np.where(real, ids[cells], pad), real.astype(np.int64))


def padding_share(batches: Sequence[TokenBatch]) -> float:
    """Return the share of all cells of the rectangles that hold padding, 0 to 1."""
    positions = sum(batch.mask.size for batch in batches)
    return 1.0 - sum(int(batch.mask.sum()) for batch in batches) / max(1, positions)
