"""The director: one fault after another, its kind and its length chosen by a seed."""

from __future__ import annotations

import os
import random
import signal
import time
from collections import Counter
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from recall.embedded import keeper

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from recall.chaos.front import Front
    from recall.chaos.processes import Process
    from recall.chaos.stage import Stage

    Fault = Callable[[], str]

#: Seconds of peace between two faults, and for which a fault lasts, each at least and at most.
PEACE = (0.2, 1.5)
LASTS = (0.5, 3.0)
#: Seconds by which the clock is turned, back or ahead: longer than every lease.
TURNS = (-3600, 3600)


class Director:
    """Chooses faults and makes them happen; a fault is over when its method returns."""

    def __init__(self, seed: int, stage: Stage, processes: Sequence[Process]) -> None:
        self._random = random.Random(seed)
        self._stage = stage
        self._processes = processes
        self.done: Counter[str] = Counter()

    def run(self, seconds: float, say: Callable[[str], None]) -> None:
        """Make trouble for so long, of every kind once for 0; `say` is told of each fault."""
        began = time.monotonic()
        faults = self._faults()
        names = self._in_turns(list(faults))
        for name in names if seconds else islice(names, len(faults)):
            at = time.monotonic() - began
            if seconds and at >= seconds:
                return
            say(f"{at:5.1f} s  {name} {faults[name]()}")
            self.done[name] += 1
            time.sleep(self._random.uniform(*PEACE))

    def heal(self) -> None:
        """Let everything be well again."""
        for front in self._fronts:
            front.heal()
        for process in self._processes:
            process.signal(signal.SIGCONT)
        if self._stage.has_disk:
            self._stage.clear_disk()
        if self._stage.has_clock:
            self._stage.turn_clock(0)
        if self._stage.neon:
            self._stage.neon.wake()

    def _in_turns(self, names: list[str]) -> Iterator[str]:
        """Yield names for ever, each once in any order before one comes again."""
        while True:
            yield from self._random.sample(names, len(names))

    @property
    def _fronts(self) -> tuple[Front, Front]:
        return self._stage.pooled, self._stage.direct

    def _faults(self) -> dict[str, Fault]:
        """Return the faults that can be made on this stage, by name."""
        faults: dict[str, Fault] = {
            "kill": self._kill,
            "stop and continue": self._stop,
            "mute": lambda: self._network("mute"),
            "deafen": lambda: self._network("deafen"),
            "refuse": lambda: self._network("refuse"),
            "delay": self._delay,
            "cut": lambda: self._lines("cut"),
            "vanish": lambda: self._lines("vanish"),
            "lose a COMMIT": self._lose,
        }
        if self._stage.neon:
            faults |= {
                "suspend": self._suspend,
                "kill postmaster": self._kill_postmaster,
                "kill backend": self._kill_backend,
                "kill keeper": self._kill_keeper,
            }
            if self._stage.neon.pooler:
                faults["kill PgBouncer"] = self._kill_pooler
        if self._stage.has_disk:
            faults["fill the disk"] = self._fill_disk
        if self._stage.has_clock:
            faults["turn the clock"] = self._turn_clock
        return faults

    def _wait(self) -> str:
        lasts = self._random.uniform(*LASTS)
        time.sleep(lasts)
        return f"for {lasts:.1f} s"

    # -- processes --------------------------------------------------------------------------------

    def _kill(self) -> str:
        process = self._random.choice(self._processes)
        process.signal(signal.SIGKILL)
        return process.name

    def _stop(self) -> str:
        process = self._random.choice(self._processes)
        process.signal(signal.SIGSTOP)
        try:
            return f"{process.name} {self._wait()}"
        finally:
            process.signal(signal.SIGCONT)

    def _kill_postmaster(self) -> str:
        return _kill_pid(self._postmaster())

    def _kill_backend(self) -> str:
        """Kill a child of the postmaster, which then ends all of its children and recovers."""
        pid = self._postmaster()
        children = children_of(pid) if pid else []
        return _kill_pid(self._random.choice(children) if children else None)

    def _postmaster(self) -> int | None:
        """Return the pid of a live postmaster: a dead one's pid may be another program's by now."""
        assert self._stage.neon is not None
        server = self._stage.neon.server
        pid = written_pid(server.data)
        return pid if keeper.alive(server) else None

    def _kill_keeper(self) -> str:
        return _kill_pid(self._stage.keeper())

    def _kill_pooler(self) -> str:
        assert self._stage.neon is not None and self._stage.neon.pooler is not None
        return _kill_pid(self._stage.neon.pooler.pid)

    def _suspend(self) -> str:
        assert self._stage.neon is not None
        self._stage.neon.suspend()
        return ""

    # -- the network ------------------------------------------------------------------------------

    def _chosen(self) -> tuple[str, list[Front]]:
        """Return a name for traffic, the direct way or both, chosen by chance, and its fronts."""
        pooled, direct = self._fronts
        ways = {"traffic": [pooled], "the direct way": [direct], "both ways": [pooled, direct]}
        name = self._random.choice(list(ways))
        return name, ways[name]

    def _network(self, fault: str) -> str:
        name, fronts = self._chosen()
        for front in fronts:
            getattr(front, fault)()
        lasts = self._wait()
        for front in fronts:
            front.heal()
        return f"{name} {lasts}"

    def _lines(self, fault: str) -> str:
        name, fronts = self._chosen()
        for front in fronts:
            getattr(front, fault)()
        return name

    def _delay(self) -> str:
        pooled = self._stage.pooled
        up, down = (self._random.uniform(0.005, 0.1) for _ in range(2))
        pooled.delay(up, down)
        lasts = self._wait()
        pooled.heal()
        return f"by {1000 * (up + down):.0f} ms {lasts}"

    def _lose(self) -> str:
        times, late = self._random.randint(1, 3), self._random.uniform(0.1, 1.0)
        ways: dict[str, dict[str, Any]] = {
            "the answers to": {},
            "in silence the answers to": {"silent": True},
            "the way of": {"reached": False},
            f"and bring {late:.1f} s late": {"reached": False, "late": late},
        }
        way = self._random.choice(list(ways))
        self._stage.pooled.lose(times, **ways[way])
        return f"{way} {times}"

    # -- the machine ------------------------------------------------------------------------------

    def _fill_disk(self) -> str:
        self._stage.fill_disk()
        lasts = self._wait()
        self._stage.clear_disk()
        return lasts

    def _turn_clock(self) -> str:
        turn = self._random.choice(TURNS)
        self._stage.turn_clock(turn)
        lasts = self._wait()
        self._stage.turn_clock(0)
        return f"by {turn:+d} s {lasts}"


def written_pid(data: Path) -> int | None:
    """Return the pid that a server wrote down."""
    try:
        return int((data / "postmaster.pid").read_text().split()[0])
    except (OSError, ValueError, IndexError):
        return None


def children_of(pid: int) -> list[int]:
    """Return the processes that a process started."""
    try:
        return [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except (OSError, ValueError):
        return []


def _kill_pid(pid: int | None) -> str:
    if pid is None:
        return "(none runs)"
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
    return ""
