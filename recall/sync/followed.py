"""A source to follow, as it is asked for on the command line and kept in the register."""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from recall.base import urls
from recall.contract.errors import SourceUnreadable
from recall.sources.opening import open_source
from recall.sync import trigger
from recall.sync.records import as_record, as_text

if TYPE_CHECKING:
    from collections.abc import Mapping

    from recall.sources.source import Source

LONGEST_PAUSE = 15 * 60.0  # seconds between two looks at a quiet server


@dataclass(frozen=True)
class Followed:
    """A source to follow."""

    target: str
    kind: str | None = None  # the name of its system
    options: dict[str, Any] = field(default_factory=dict)
    user: str | None = None  # given to memories that name no user
    longest_wait: float = LONGEST_PAUSE
    trigger: bool = False  # the source's tables tell when they change

    def as_text(self) -> str:
        """Return what the register keeps."""
        return as_text(asdict(self))

    @classmethod
    def of(cls, kept: Mapping[str, Any]) -> Followed:
        """Return what the register keeps, registered by whatever version."""
        return as_record(cls, kept)

    @property
    def location(self) -> str:
        """The path or URL; a target `$NAME` stands in the environment, where passwords belong.

        Raises SourceUnreadable when that variable is not set.
        """
        if not self.target.startswith("$"):
            return self.target
        location = os.environ.get(self.target[1:], "")
        if not location:
            raise SourceUnreadable(f"The environment variable {self.target[1:]} is not set.")
        return urls.source(location, self.target[1:])

    def open(self) -> Source:
        """Open the source; raises SourceUnreadable when it cannot be."""
        return open_source(self.location, self.kind, **self.options)

    def install(self) -> None:
        """Put triggers on the source's tables, when that is wanted.

        Raises SourceUnreadable when its tables take none.
        """
        if self.trigger:
            trigger.install(self.location, self.open())

    def uninstall(self) -> None:
        """Take the triggers off the source's tables; raises SourceUnreadable when that fails."""
        if self.trigger:
            trigger.uninstall(self.location, self.open())
