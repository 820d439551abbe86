"""What tests import is declared: by recall, or by its extra for development."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from itertools import chain
from pathlib import Path

TESTS = Path(__file__).parent
#: What they talk to has an environment of its own: it wants older packages.
ELSEWHERE = "live_writers.py"


def imported() -> set[str]:
    """Return the packages that tests import; each is named as its distribution is."""
    found = set()
    for file in TESTS.rglob("*.py"):
        if file.name == ELSEWHERE:
            continue
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                found |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                found.add(node.module)
    own = {file.stem for file in TESTS.rglob("*.py")} | {"recall"}
    return {name.partition(".")[0] for name in found} - own - sys.stdlib_module_names


def declared() -> set[str]:
    """Return what pyproject.toml names, in any extra, as distributions are compared."""
    project = tomllib.loads((TESTS.parent / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"].values()
    lines = [*project["dependencies"], *chain.from_iterable(extras)]
    return {normal(re.split(r"[\[<>=;! ]", line)[0]) for line in lines}


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def test_what_tests_import_is_declared() -> None:
    assert {normal(name) for name in imported()} <= declared()
