"""Supervision of a process's duties: the tasks that run for long and that nobody awaits.

A duty says how it stands: it works (and gives signs of life), rests, or fails and goes on trying.
One that ends by an error is started again after a pause that doubles each time. Complaints say in
sentences which duties do not run; they are read from memory, so asking wakes no sleeping database.
"""

from __future__ import annotations

import asyncio
import logging
import time
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine, Iterator

log = logging.getLogger("recall.supervisor")

#: Seconds before a duty that ended is started again, and the longest such pause.
FIRST_PAUSE, LAST_PAUSE = 1.0, 60.0
#: Seconds without a sign of life after which a working duty is called stuck.
SILENCE = 120.0
#: Seconds that a duty has to return when asked, and then to end when cancelled.
LEAVE, CANCEL = 0.5, 1.5


@dataclass
class Duty:
    """What one long-lived task is for, and how it stands; the task itself says so."""

    name: str  # reads well before "does not run"
    needed: bool  # without it the service is not ready
    trouble: str | None = None  # a sentence while it fails
    restarts: int = 0
    busy: bool = False
    alive_at: float = field(default_factory=time.monotonic)

    def works(self) -> None:
        """Say that it is at work: a sign of life."""
        self.busy, self.alive_at = True, time.monotonic()

    def rests(self) -> None:
        """Say that all is well and there is nothing to do."""
        self.busy, self.alive_at = False, time.monotonic()
        if self.trouble is not None:
            log.warning("%s is well again.", self.name)
            self.trouble = None

    def fails(self, error: BaseException) -> None:
        """Say that it cannot do its work now and goes on trying."""
        self.busy, self.alive_at = False, time.monotonic()
        said = str(error) or type(error).__name__
        if self.trouble is None:
            log.warning("%s does not run: %s It goes on trying; nothing is lost.", self.name, said)
        self.trouble = said

    @property
    def silent(self) -> float:
        """Seconds since the last sign of life of a duty that works; 0 of one that rests."""
        return time.monotonic() - self.alive_at if self.busy else 0.0

    def complaint(self) -> str | None:
        """Return the sentence that says what does not run, or None."""
        if self.trouble is not None:
            return f"{self.name} does not run: {self.trouble}"
        if self.silent > SILENCE:
            return f"{self.name} gave no sign of life for {self.silent:.0f} s."
        return None


class Watched(NamedTuple):
    """A duty with its task, and what asks it to return."""

    duty: Duty
    task: asyncio.Task[None]
    stop: Callable[[], None] | None


class Supervisor:
    """The duties of one process."""

    def __init__(self) -> None:
        self._watched: list[Watched] = []

    def __iter__(self) -> Iterator[Duty]:
        return (watched.duty for watched in self._watched)

    def start(
        self,
        name: str,
        run: Callable[[Duty], Coroutine[Any, Any, None]],
        *,
        needed: bool = False,
        stop: Callable[[], None] | None = None,
    ) -> Watched:
        """Run a duty beside everything else until it returns, or until `end`.

        `stop` asks the duty to return. A duty without `stop`, or one that has not returned LEAVE
        seconds behind it, is cancelled.
        """
        duty = Duty(name, needed)
        task = asyncio.create_task(self._watch(duty, run), name=name)
        watched = Watched(duty, task, stop)
        self._watched.append(watched)
        return watched

    async def _watch(self, duty: Duty, run: Callable[[Duty], Coroutine[Any, Any, None]]) -> None:
        pause = FIRST_PAUSE
        while True:
            began = time.monotonic()
            try:
                return await run(duty)
            except Exception as error:  # the boundary: a duty may end, its watch may not
                log.exception("%s ended; it is started again", duty.name)
                duty.fails(error)
                duty.restarts += 1
            if time.monotonic() - began > LAST_PAUSE:
                pause = FIRST_PAUSE
            await asyncio.sleep(pause)
            pause = min(pause * 2, LAST_PAUSE)

    def complaints(self, needed: bool) -> list[str]:
        """Return a sentence for each duty that does not run, of those `needed` or of the others."""
        said = (duty.complaint() for duty in self if duty.needed is needed)
        return list(dict.fromkeys(sentence for sentence in said if sentence))

    async def end(self, *ending: Watched) -> None:
        """Ask duties to return, then cancel them; returns within LEAVE + CANCEL seconds."""
        self._watched = [watched for watched in self._watched if watched not in ending]
        tasks = {watched.task for watched in ending}
        asked = [watched.stop for watched in ending if watched.stop]
        for stop in asked:
            stop()
        for watched in ending:
            if not watched.stop:
                watched.task.cancel()
        if tasks:
            _, tasks = await asyncio.wait(tasks, timeout=LEAVE)
        for task in tasks:
            task.cancel()
        if tasks:
            _, tasks = await asyncio.wait(tasks, timeout=CANCEL)
        for task in tasks:
            log.error("%s does not end; it is left behind.", task.get_name())

    async def close(self) -> None:
        """End every duty."""
        await self.end(*self._watched)


@asynccontextmanager
async def supervised() -> AsyncIterator[Supervisor]:
    """Yield a supervisor whose duties end with the block."""
    supervisor = Supervisor()
    try:
        yield supervisor
    finally:
        await supervisor.close()
