"""R@k, MRR, and the interval that holds a mean with a given confidence."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

RESAMPLES = 2_000


def recall_at(ranked: Sequence[str], relevant: Collection[str], k: int) -> float:
    """Return the share of the `relevant` keys among the first `k` of `ranked`, in [0, 1]."""
    return len(set(ranked[:k]) & set(relevant)) / len(relevant)


def reciprocal_rank(ranked: Sequence[str], relevant: Collection[str]) -> float:
    """Return 1 / the place of the first relevant key in `ranked`, 0 when there is none."""
    return next((1 / place for place, key in enumerate(ranked, 1) if key in relevant), 0.0)


def interval(values: Sequence[float], share: float = 0.95) -> tuple[float, float]:
    """Return the bootstrap percentile interval of the mean (Efron 1979), seed fixed."""
    sample = np.asarray(values)
    draws = np.random.default_rng(1).integers(0, len(sample), (RESAMPLES, len(sample)))
    low, high = np.quantile(sample[draws].mean(axis=1), [(1 - share) / 2, (1 + share) / 2])
    return float(low), float(high)
