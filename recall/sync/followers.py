"""Registered sources, followed beside a worker: each by one of all workers, anywhere.

A worker claims free sources by a lease and renews it before it ends. A lease lasts half a minute
while there is news and up to half an hour without, so that an idle database may sleep. A worker
that stops releases its sources; those of one that was killed are free when its lease ends.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from math import isinf
from typing import TYPE_CHECKING, NamedTuple

from recall.contract.errors import RecallError
from recall.sync.follow import Follower
from recall.sync.leases import claim_sources, release_sources, worker_name

if TYPE_CHECKING:
    from collections.abc import Callable

    from recall.base.supervisor import Duty, Supervisor, Watched
    from recall.database.units import Database
    from recall.sync.intake import News
    from recall.sync.leases import Claimed

FIRST_WAIT, LAST_WAIT = 15.0, 15 * 60.0  # seconds between two claims; a lease is twice as long
RELEASE_SECONDS = 0.5  # for releasing what was claimed


class Following(NamedTuple):
    """A source that is being followed."""

    claimed: Claimed
    follower: Follower
    watched: Watched


class Followers:
    """The sources that one worker follows."""

    def __init__(
        self,
        database: Database,
        supervisor: Supervisor,
        on_news: Callable[[], None],
        name: str | None = None,
    ) -> None:
        self._database = database
        self._supervisor = supervisor
        self._on_news = on_news
        self._name = name or worker_name()
        self._last_news = time.monotonic()
        self._following: dict[int, Following] = {}
        self._registered = asyncio.Event()

    def start(self) -> None:
        """Claim and follow beside everything else until the supervisor ends it."""
        self._supervisor.start("Following registered sources", self.run)

    async def run(self, duty: Duty) -> None:
        """Claim and follow until cancelled, then release what was claimed."""
        try:
            while True:
                self._registered.clear()
                wait: float | None = FIRST_WAIT
                try:
                    duty.works()
                    wait = await self._look()
                    duty.rests()
                except RecallError as error:
                    duty.fails(error)
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._registered.wait(), wait)
        finally:
            following, self._following = self._following, {}
            if following:
                await self._supervisor.end(*(each.watched for each in following.values()))
                with suppress(RecallError):  # the leases run out
                    await release_sources(self._database, self._name, within=RELEASE_SECONDS)

    async def _look(self) -> float | None:
        """Follow the sources that can be claimed; return the seconds until the next look.

        None where nothing is registered: to register a source rings, so no look is due before.
        """
        wait = min(max(time.monotonic() - self._last_news, FIRST_WAIT), LAST_WAIT)
        claimed, others = await claim_sources(self._database, self._name, 2 * wait)
        await self._follow(claimed)
        return None if not claimed and isinf(others) else min(wait, max(others, FIRST_WAIT))

    async def _follow(self, claimed: list[Claimed]) -> None:
        """Follow exactly the claimed sources: begin with new ones, and end those that were lost."""
        lost = [id for id, each in self._following.items() if each.claimed not in claimed]
        await self._supervisor.end(*(self._following.pop(id).watched for id in lost))
        for each in claimed:
            if each.id not in self._following:
                follower = Follower(self._database, each.caller, each.followed, self._tell)
                name = f"Following {each.followed.target}"
                watched = self._supervisor.start(name, follower.run, stop=follower.stop)
                self._following[each.id] = Following(each, follower, watched)

    def look_again(self) -> None:
        """Say that the register changed."""
        self._registered.set()

    def nudge(self) -> None:
        """Say that a source with a trigger changed."""
        for each in self._following.values():
            if each.claimed.followed.trigger:
                each.follower.nudge()

    def _tell(self, news: News) -> None:
        self._last_news = time.monotonic()
        self._on_news()
