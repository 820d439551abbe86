"""Whose fault it is when indexing fails: some memories', or the system's.

Claims that fail together are tried in halves, until those that fail alone are known. Where any
memory is indexed the system works, so the ones that fail are at fault themselves. Where all fail,
the kind of the errors decides, or PROBE: a text that only a broken system fails on.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from recall.base.faults import Fault, fault_of
from recall.contract.errors import Broken, RecallError
from recall.indexing.jobs import Job
from recall.memory.memories import LIVE

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from recall.indexing.jobs import Claim

#: Memories that must fail one by one, with none that is indexed, before the system is to blame.
WITNESSES = 3
#: Cut and embedded to learn whether any text can be.
PROBE = Job(
    memory_id=0,
    tenant_id=0,
    token=0,
    lane=LIVE,
    language="simple",
    kind="note",
    content="Is the engine at fault, or the memory?",
    title=None,
    role=None,
    author=None,
    user_id=None,
    session_id=None,
    created_at=datetime(2000, 1, 1, tzinfo=UTC),
    indexed=False,
)


class Unembeddable(Exception):
    """Cutting or embedding failed: by the texts, or by the engine."""


class Halving:
    """Indexes claims together, or else in halves, and notes those that fail alone."""

    def __init__(self, index: Callable[[Sequence[Claim]], Awaitable[None]], proven: bool) -> None:
        self.done = 0
        self.proven = proven  # something was indexed: the system works
        self.failures: dict[Claim, Exception] = {}
        self._index = index

    async def index(self, claims: Sequence[Claim]) -> None:
        """Index what can be; stop early when WITNESSES failed one by one and nothing was indexed.

        Raises Unavailable, and other errors that may be gone at another attempt.
        """
        try:
            await self._index(claims)
        except Exception as error:  # the boundary of a job: whatever its memory causes ends here
            if fault_of(error) in {Fault.NOW, Fault.LATER}:
                raise
            if len(claims) == 1:
                self.failures[claims[0]] = error
                return
            middle = len(claims) // 2
            await self.index(claims[:middle])
            if self.proven or len(self.failures) < WITNESSES:
                await self.index(claims[middle:])
        else:
            self.done += len(claims)
            self.proven = True


async def memories_at_fault(
    errors: Sequence[Exception], embed: Callable[[Sequence[Job]], Awaitable[object]]
) -> bool:
    """Return whether failures, none of which stands beside a success, are the memories' own."""
    if all(fault_of(error) is Fault.INPUT for error in errors):
        return True
    if not all(isinstance(error, Unembeddable) for error in errors):
        return False
    try:
        await embed([PROBE])
    except Exception:  # of whatever kind: PROBE is no memory
        return False
    return True


def described(error: Exception) -> str:
    """Return the sentence on a failure that is kept with a memory's job."""
    return str(error) if isinstance(error, Unembeddable) else f"{type(error).__name__}: {error}"


def as_recall_error(error: Exception) -> RecallError:
    """Return a failure of the system as an error of recall's own."""
    if isinstance(error, RecallError):
        return error
    return Broken(f"Indexing fails whatever the memory: {described(error)}.")
