"""SQL lives in `sql/`; Python asks for a statement by its name.

A file of named statements opens with prose. A statement starts at `-- name: NAME` and ends
before the next one. Names are unique over all files.
"""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from typing import LiteralString

HERE = Path(__file__).parents[1]

#: In an installed wheel `sql/` lies inside the package, in a checkout beside it.
SQL = next(folder for folder in (HERE / "sql", HERE.parent / "sql") if folder.is_dir())

_NAME = re.compile(r"^-- name: (\w+)\n", re.MULTILINE)


@cache
def statements() -> dict[str, LiteralString]:
    """Return every named statement of `sql/*/*.sql` by its name."""
    by_name: dict[str, LiteralString] = {}
    for file in sorted(SQL.glob("*/*.sql")):
        _, *parts = _NAME.split(file.read_text(encoding="utf-8"))
        for name, text in zip(parts[::2], parts[1::2], strict=True):
            if name in by_name:
                raise ValueError(f"{file.name} names the statement {name!r} a second time")
            # The text comes from a file of this package, never from a caller.
            by_name[name] = cast("LiteralString", text.strip().rstrip(";"))
    return by_name


def query(name: str) -> LiteralString:
    """Return the statement called `name`; KeyError when no file of `sql/` has it."""
    return statements()[name]
