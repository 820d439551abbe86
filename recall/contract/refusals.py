"""What is wrong with a value, in one sentence that names the field and the limit."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from recall.contract.limits import LONGEST_ID

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pydantic import ValidationError


def sentence(error: ValidationError, root: str = "") -> tuple[str, str]:
    """Return the first thing wrong as (field, sentence); `root` is where the value stood.

    The field reads like the JSON: "messages[3].content".
    """
    first = error.errors(include_url=False)[0]
    return field_and_sentence(first["loc"], first, root)


def field_and_sentence(
    loc: Sequence[int | str], wrong: Mapping[str, Any], root: str = ""
) -> tuple[str, str]:
    """Return (field, sentence) for one of pydantic's error records."""
    field = root
    for part in loc:
        if isinstance(part, str) and len(part) > LONGEST_ID:
            part = f"{part[:LONGEST_ID]}…"  # a caller's own word
        field += f"[{part}]" if isinstance(part, int) else f".{part}" if field else part
    kind, limits = wrong["type"], wrong.get("ctx", {})
    said = {
        "missing": "is missing",
        "extra_forbidden": "is not a field that recall knows",
        "string_too_short": f"must have at least {limits.get('min_length')} character",
        "string_too_long": f"must have at most {limits.get('max_length'):,} characters"
        if "max_length" in limits
        else "",
        "too_short": f"must have at least {limits.get('min_length')} element",
        "too_long": f"must have at most {limits.get('max_length')} elements",
        "greater_than_equal": f"must be at least {limits.get('ge')}",
        "less_than_equal": f"must be at most {limits.get('le')}",
        "literal_error": f"must be {limits.get('expected')}",
        "string_pattern_mismatch": "must not be blank",
        "value_error": str(limits.get("error", "")),
    }.get(kind) or _lowered(wrong["msg"].removeprefix("Input "))
    return field, f"{field or 'The value'} {said if ' ' in said else f'is wrong: {said}'}."


def _lowered(text: str) -> str:
    return text[:1].lower() + text[1:]
