"""How many processor cores this process may really use."""

from __future__ import annotations

import math
import os
from pathlib import Path

CGROUP_LIMIT = Path("/sys/fs/cgroup/cpu.max")
TOPOLOGY = Path("/sys/devices/system/cpu")


def usable_cores() -> int:
    """Return the physical cores that this process may run on, at most its container's quota.

    Two hardware threads of a core share its multipliers, so that a second thread there only waits.
    A quota is not in the processor set: the kernel stops all threads of a container that spent it.
    """
    if not hasattr(os, "sched_getaffinity"):
        return os.cpu_count() or 1
    cores = {siblings(number) for number in os.sched_getaffinity(0)}
    return max(1, min(len(cores), quota(CGROUP_LIMIT)))


def siblings(number: int) -> str:
    """Return the logical processors of the core that `number` is one of, which name the core."""
    listing = TOPOLOGY / f"cpu{number}" / "topology" / "thread_siblings_list"
    return listing.read_text().strip() if listing.is_file() else str(number)


def quota(limit: Path) -> int:
    """Return the whole cores that a cgroup's limit allows; a large number when it has none."""
    granted, _, period = (limit.read_text() if limit.is_file() else "max 100000").partition(" ")
    return 1 << 16 if granted == "max" else max(1, math.floor(int(granted) / int(period)))
