"""Times as other systems write them: naive, RFC 3339 with nanoseconds, or numbers since 1970."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta, tzinfo
from functools import cache, lru_cache
from zoneinfo import ZoneInfo

from recall.contract.errors import SourceUnreadable

#: For a row that says nothing of its time, in a source that says nothing either.
UNKNOWN = datetime(1970, 1, 1, tzinfo=UTC)

#: From here on a number can only count the smaller unit: 1e11 seconds is the year 5138.
_UNITS = ((1e17, 1e9), (1e14, 1e6), (1e11, 1e3))


@cache
def zone(name: str) -> tzinfo:
    """Return the zone called `name`: "UTC", "local", "+02:00" or "Europe/Berlin".

    Raises SourceUnreadable when there is no such zone.
    """
    if name.upper() in {"UTC", "Z"}:
        return UTC
    if name == "local":
        return datetime.now().astimezone().tzinfo or UTC
    try:
        if name[:1] in "+-":
            return datetime.fromisoformat(f"2000-01-01T00:00:00{name}").tzinfo or UTC
        return ZoneInfo(name)
    except (ValueError, KeyError, OSError) as error:
        raise SourceUnreadable(
            f"assume_tz={name!r} is no time zone; write it as UTC, local, +02:00 or Europe/Berlin."
        ) from error


def instant(value: object, naive: tzinfo = UTC) -> datetime | None:
    """Return the time that `value` says, a naive one read in the zone `naive`; None: none."""
    try:
        time = _instant(value, naive)
        if time is None or not 1 < time.astimezone(UTC).year <= 9998:
            return None  # year 1 is how Go writes "no time"
        return time
    except (ValueError, OverflowError, OSError):
        return None


def _instant(value: object, naive: tzinfo) -> datetime | None:
    if isinstance(value, bool) or value is None:
        return None
    if isinstance(value, str):
        value = _written(value)
    if isinstance(value, int | float):
        return _since_1970(float(value))
    if isinstance(value, datetime):
        return value.replace(tzinfo=naive) if value.tzinfo is None else value
    return _instant(str(value), naive)


@lru_cache(512)
def _written(text: str) -> float | datetime:
    """Return what a text says; a row's time is asked for twice, a session's with every message."""
    try:
        return float(text)
    except ValueError:
        return datetime.fromisoformat(text.strip())


def _since_1970(number: float) -> datetime | None:
    if not math.isfinite(number) or number == 0:
        return None
    for least, divisor in _UNITS:
        if abs(number) >= least:
            number /= divisor
            break
    return UNKNOWN + timedelta(seconds=number)


def stamp(value: object) -> str:
    """Return a written time in one form, whatever database wrote it, for use in a key.

    Naive stays naive: a key must not change with the zone that is assumed.
    """
    time = instant(value)
    if time is None:
        return "-"
    written = time.astimezone(UTC).isoformat(timespec="microseconds")
    return written[:26].replace("-", "").replace(":", "")


def earlier(value: object, seconds: float) -> object:
    """Return `value` moved back in time, written as it was written."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        unit = next((unit for least, unit in _UNITS if abs(value) >= least), 1)
        return value - seconds * unit
    if not isinstance(value, str):
        return value
    if value.replace(".", "", 1).isdecimal():
        moved = str(earlier(float(value), seconds))
    else:
        time = instant(value)
        moved = value
        if time is not None:
            moved = (time - timedelta(seconds=seconds)).isoformat(sep=value[10:11] or " ")
        if "T" in value and not value[19:].strip(".0123456789Z"):
            moved = moved[:19]  # compared as text, the shortest form comes first
    return min(moved, value)  # what only looks like a time must not move forward
