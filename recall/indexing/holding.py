"""A worker's claims, renewed by a heartbeat for as long as the worker works on them."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING

from recall.contract.errors import RecallError
from recall.indexing import queue

if TYPE_CHECKING:
    from collections.abc import Iterable

    from recall.base.supervisor import Duty
    from recall.database.units import Database
    from recall.indexing.jobs import Claim

#: Heartbeats in a lease.
BEATS = 3
#: Seconds for giving claims back when the process ends.
FAREWELL = 1.0


class Holding:
    """The claims of one worker."""

    def __init__(self, database: Database, lease: float) -> None:
        self.lease = lease
        self._database = database
        self._held: dict[int, Claim] = {}
        self._any = asyncio.Event()
        self._stopping = False

    def take(self, claims: Iterable[Claim]) -> None:
        """Hold claims from now on."""
        self._held |= {claim.memory_id: claim for claim in claims}
        if self._held:
            self._any.set()

    def drop(self, claims: Iterable[Claim]) -> None:
        """Hold claims no more: they ended, or another has them."""
        for claim in claims:
            if self._held.get(claim.memory_id) is claim:
                del self._held[claim.memory_id]
        if not (self._held or self._stopping):
            self._any.clear()

    async def give_back(self, claims: Iterable[Claim]) -> None:
        """Return those of `claims` that are still held, as if they had never been made."""
        left = [claim for claim in claims if self._held.get(claim.memory_id) is claim]
        self.drop(left)
        if left:
            with suppress(RecallError):  # the lease runs out
                await queue.release_claims(self._database, left, within=FAREWELL)

    def stop(self) -> None:
        """Let `beat` return."""
        self._stopping = True
        self._any.set()

    async def beat(self, duty: Duty) -> None:
        """Renew the lease of what is held, BEATS times in each, until stopped."""
        while not self._stopping:
            if not self._held:
                duty.rests()  # without claims an earlier failure to renew them means nothing
            await self._any.wait()
            await asyncio.sleep(self.lease / BEATS)
            if not (asked := list(self._held.values())):
                continue
            try:
                held = await queue.renew_claims(self._database, asked, self.lease)
            except RecallError as error:
                duty.fails(error)
            else:
                duty.rests()
                self.drop(claim for claim in asked if claim.memory_id not in held)
