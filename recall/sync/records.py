"""Records that outlive the process that wrote them: a version, and fields by name.

Workers of an older version read what a newer one wrote: a field that they do not know is passed
over, one that is not there has its default.
"""

from __future__ import annotations

import json
from dataclasses import fields
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Mapping

T = TypeVar("T")

#: Written, and read by nobody yet: for the day when a field comes to mean something else.
VERSION = 1


def as_text(values: Mapping[str, Any]) -> str:
    """Return a record's fields as the JSON that is kept."""
    return json.dumps({"version": VERSION, **values})


def as_record(kind: type[T], kept: Mapping[str, Any]) -> T:
    """Return the dataclass `kind` from what was kept, by whatever version."""
    known = {each.name for each in fields(kind)}  # type: ignore[arg-type]
    return kind(**{name: value for name, value in kept.items() if name in known})
