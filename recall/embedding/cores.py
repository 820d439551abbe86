"""How many processor cores this process may really use."""

from __future__ import annotations

import math
import os
from pathlib import Path

CGROUP_LIMIT = Path("/sys/fs/cgroup/cpu.max")
TOPOLOGY = Path("/sys/devices/system/cpu")


def usable_cores() -> int:
    """Return the physical cores of our processor set, at most what the container may spend.

    Two hardware threads of one core share its multipliers: a second thread there only adds waiting.
    A container's quota is no processor set: the kernel stops all of its threads once it is spent.
    """
    if not hasattr(os, "sched_getaffinity"):
        return os.cpu_count() or 1
    cores = {siblings(number) for number in os.sched_getaffinity(0)}
    return max(1, min(len(cores), quota(CGROUP_LIMIT)))


def siblings(number: int) -> str:
    """Return what names the core of a logical processor: the list of processors sharing it."""
    listing = TOPOLOGY / f"cpu{number}" / "topology" / "thread_siblings_list"
    return listing.read_text().strip() if listing.is_file() else str(number)


def quota(limit: Path) -> int:
    """Return the whole cores that a cgroup's limit allows; a large number when it has none."""
    granted, _, period = (limit.read_text() if limit.is_file() else "max 100000").partition(" ")
    return 1 << 16 if granted == "max" else max(1, math.floor(int(granted) / int(period)))
