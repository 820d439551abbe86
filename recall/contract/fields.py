"""The types of fields: how long a text may be, what is cleaned of it, which times there are."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field

from recall.contract.limits import (
    DEEPEST_METADATA,
    LARGEST_METADATA,
    LONGEST_CONTENT,
    LONGEST_ID,
    LONGEST_QUERY,
    LONGEST_TITLE,
    MOST_WANTED,
)

_PLAIN = json.JSONEncoder(ensure_ascii=False)


def _clean(value: object) -> object:
    """Drop what Postgres cannot store in text: NUL, and halves of surrogate pairs."""
    if isinstance(value, str):
        value = value.replace("\x00", "")
        if value.isascii():  # costs nothing to know
            return value
        return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return value


def _clean_json(value: Any) -> Any:
    return _clean_at(value, 0)


def _clean_at(value: Any, depth: int) -> Any:
    if isinstance(value, str):
        return _clean(value)
    if isinstance(value, Mapping | list | tuple) and depth == DEEPEST_METADATA:
        raise ValueError(f"must be nested at most {DEEPEST_METADATA} deep")
    if isinstance(value, Mapping):
        return {_clean(str(key)): _clean_at(item, depth + 1) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_clean_at(item, depth + 1) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError("must not contain NaN or infinity")
    return _clean(value)


def _small(value: dict[str, Any]) -> dict[str, Any]:
    size = len(_PLAIN.encode(value).encode())
    if size > LARGEST_METADATA:
        raise ValueError(f"must take at most {LARGEST_METADATA} bytes as JSON, not {size}")
    return value


def _few(value: dict[str, Any]) -> dict[str, Any]:
    inside: list[Any] = [value]
    held = 0
    while inside:
        one = inside.pop()
        if isinstance(one, dict | list):
            held += len(one)
            inside.extend(one.values() if isinstance(one, dict) else one)
    if held > MOST_WANTED:
        raise ValueError(f"must hold at most {MOST_WANTED} values, not {held}")
    return value


def _utc(value: datetime) -> datetime:
    """Return a time in UTC, a naive one read as such.

    Its year is judged there, a year away from either end of what Python can say: whoever reads it
    back may read it in another zone.
    """
    try:
        at = value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)
    except OverflowError:
        at = None
    if at is None or not 2 <= at.year <= 9998:
        raise ValueError("must lie between the years 2 and 9998, in UTC")
    return at


Id = Annotated[str, Field(min_length=1, max_length=LONGEST_ID), BeforeValidator(_clean)]
Content = Annotated[str, Field(min_length=1, max_length=LONGEST_CONTENT), BeforeValidator(_clean)]
Title = Annotated[str, Field(max_length=LONGEST_TITLE), BeforeValidator(_clean)]
Time = Annotated[datetime, AfterValidator(_utc)]
Metadata = Annotated[dict[str, Any], BeforeValidator(_clean_json), AfterValidator(_small)]
#: What a question asks of metadata: each value is looked for in turn.
WantedMetadata = Annotated[Metadata, AfterValidator(_few)]
Query = Annotated[
    str, Field(min_length=1, max_length=LONGEST_QUERY, pattern=r"\S"), BeforeValidator(_clean)
]
