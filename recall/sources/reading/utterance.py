"""What one item of a conversation says, whatever the system that kept it calls its fields."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

    from recall.sources.reason import Reason

NOTHING: Mapping[str, Any] = MappingProxyType({})


class Utterance(NamedTuple):
    """Who says which text; `reason` says why it is no memory unless hidden turns are asked for."""

    role: str
    text: str
    reason: Reason | None = None
    facts: Mapping[str, Any] = NOTHING
