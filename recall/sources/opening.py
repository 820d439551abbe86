"""Where a history is opened: by the name of its kind, or by what it is recognised as."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

from recall.contract.errors import SourceUnreadable
from recall.sources.kinds import module_of
from recall.sources.recognition import recognise

if TYPE_CHECKING:
    from recall.sources.source import Source


def open_source(target: str, name: str | None = None, **options: Any) -> Source:
    """Return the history at `target`, of the named kind or of the one it is recognised as.

    `options` are the source's own, such as assume_tz; one that it does not know is refused.
    """
    name = name or recognise(target).name
    opening = module_of(name).open_source
    known = [p for p in inspect.signature(opening).parameters if p != "target"]
    for option in options:
        if option not in known:
            takes = f"it takes {', '.join(known)}" if known else "it takes none"
            raise SourceUnreadable(f"The source {name} has no option {option}; {takes}.")
    source: Source = opening(target, **options)
    return source
