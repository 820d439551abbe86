"""Answers as JSON, straight from values: no pydantic model is built only to be written out."""

from __future__ import annotations

import json
from dataclasses import fields
from datetime import datetime
from typing import Any

from pydantic_core import PydanticSerializationError, to_json
from starlette.responses import Response


class Json(Response):
    """A value (dataclasses, times and tuples included) as a JSON response.

    `without` are fields to leave out, as pydantic's `exclude` names them; all of them are None.
    """

    media_type = "application/json"

    def __init__(
        self, value: Any, status: int = 200, without: dict[str, Any] | None = None
    ) -> None:
        try:
            written = to_json(value, exclude=without)
        except PydanticSerializationError:
            # Metadata stored before its depth was bounded nests deeper than pydantic writes.
            written = json.dumps(value, default=_plain, ensure_ascii=False).encode()
        super().__init__(written, status)


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.isoformat()
    given = {field.name: getattr(value, field.name) for field in fields(value)}
    unasked = {"neighbors", "explain", "left_out"}
    return {name: part for name, part in given.items() if part is not None or name not in unasked}
