"""Who asks: whose rows a unit of work sees, and what it may do to them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from recall.contract.errors import Forbidden

#: What a caller may do: ask, store, forget, and what changes all of a tenant at once.
Right = Literal["read", "write", "erase", "admin"]
ALL_RIGHTS: Final[frozenset[Right]] = frozenset({"read", "write", "erase", "admin"})


@dataclass(frozen=True, slots=True)
class Caller:
    """One tenant, by its id; of its users only `user`, when one is named; and the rights there."""

    tenant: int
    user: str | None = None
    rights: frozenset[Right] = ALL_RIGHTS

    def need(self, right: Right) -> None:
        """Raise Forbidden without this right."""
        if right not in self.rights:
            raise Forbidden(f"This key lacks the right {right!r}.")


class Owner:
    """The owner of the tables, whom no policy binds: the queue and administration."""


OWNER: Final = Owner()
