"""Where a history is opened: by the name of its system, or by what it is recognised as."""

from __future__ import annotations

import pkgutil
from typing import TYPE_CHECKING, Any

from recall.contract.errors import SourceUnreadable
from recall.sources.recognition import recognise
from recall.sources.systems import systems

if TYPE_CHECKING:
    from recall.sources.source import Source


def open_source(target: str, name: str | None = None, **options: Any) -> Source:
    """Return the history at `target`, read by the named system or by the one that it looks like.

    `options` are the system's own, such as assume_tz. Raises SourceUnreadable for an unknown name
    or option, and when nothing readable is there.
    """
    name, known = name or recognise(target).name, systems()
    if name not in known:
        raise SourceUnreadable(f"There is no source {name!r}; choose one of {', '.join(known)}.")
    allowed = known[name].options
    for option in options:
        if option not in allowed:
            takes = f"it takes {', '.join(allowed)}" if allowed else "it takes none"
            raise SourceUnreadable(f"The source {name} has no option {option}; {takes}.")
    source: Source = pkgutil.resolve_name(known[name].opens)(target, **options)
    return source
