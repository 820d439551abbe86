"""`recall eval`: a set of questions, asked in a scratch database that is removed afterwards."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, get_args

from recall.contract.errors import Invalid
from recall.contract.values import Mode
from recall.evaluate.asked import (
    ask_set,
    by_reciprocal_rank,
    in_mode,
    load_conversations,
    summarise,
)
from recall.evaluate.scratch import scratch_database
from recall.evaluate.sets import read_set
from recall.retrieval.search import Searcher
from recall.runtime.parts import LOAD
from recall.runtime.service import open_service

if TYPE_CHECKING:
    from pathlib import Path

    from recall.base.settings import Settings
    from recall.evaluate.asked import Ranking, Summary
    from recall.runtime.service import Service


@dataclass(frozen=True)
class Comparison:
    """What to measure: modes of /recall, and what to hold them against."""

    mode: str  # one of recall's, or all
    rrf: bool  # reciprocal rank fusion of the two legs too
    legs: bool  # each leg without context too: the turn alone, as other systems have it


def _rankings(service: Service, wanted: Comparison) -> dict[str, Ranking]:
    modes: list[Mode] = ["hybrid", "semantic", "keyword"]
    rankings: dict[str, Ranking] = {
        mode: in_mode(service.searcher, mode) for mode in modes if wanted.mode in (mode, "all")
    }
    if wanted.rrf:
        semantic, keyword = (in_mode(service.searcher, m) for m in modes[1:])
        rankings["rank fusion"] = by_reciprocal_rank(semantic, keyword)
    if wanted.legs:
        bare = Searcher(service.database, service.profile, service.model.questions, around=0)
        rankings["semantic, turn alone"] = in_mode(bare, "semantic")
        rankings["keyword, turn alone"] = in_mode(bare, "keyword")
    return rankings


async def run_evaluation(settings: Settings, file: Path, wanted: Comparison) -> dict[str, Summary]:
    """Load the set into a scratch database, ask its questions, and return the summaries by name.

    Raises Invalid for a mode that there is not, and what opening the set and the service raise.
    """
    if wanted.mode not in (*get_args(Mode), "all"):
        raise Invalid(f"mode must be hybrid, semantic, keyword or all, not {wanted.mode!r}.")
    chosen = read_set(file)
    summaries: dict[str, Summary] = {}
    with scratch_database(settings) as scratch:
        async with open_service(scratch, LOAD) as service:
            callers = await load_conversations(service, chosen)
            for name, ranking in _rankings(service, wanted).items():
                summaries[name] = summarise(await ask_set(chosen, callers, ranking))
    return summaries
