"""Answers as JSON, straight from values: no model is built only to be written out."""

from __future__ import annotations

from typing import Any

from pydantic_core import to_json
from starlette.responses import Response


class Json(Response):
    """A value (dataclasses, times and tuples included) as a JSON response.

    `without` are fields to leave out, as pydantic's `exclude` names them.
    """

    media_type = "application/json"

    def __init__(
        self, value: Any, status: int = 200, without: dict[str, Any] | None = None
    ) -> None:
        super().__init__(to_json(value, exclude=without), status)
