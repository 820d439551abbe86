"""Systems declare themselves: what each of them says of itself is true, and says it lightly."""

from __future__ import annotations

import inspect
import pkgutil
import subprocess
import sys

import pytest

from recall.sources.reason import Reason
from recall.sources.systems import systems


@pytest.mark.parametrize("name", systems())
def test_what_opens_a_system_takes_the_options_that_it_declares(name: str) -> None:
    system = systems()[name]
    first, *options = inspect.signature(pkgutil.resolve_name(system.opens)).parameters
    assert first == "target" and tuple(options) == system.options


def test_looking_at_all_systems_loads_no_driver_and_no_reader() -> None:
    code = (
        "import sys; from recall.sources.systems import systems; systems();"
        "print(*sys.modules, sep='\\n')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    drivers = {"ijson", "langgraph", "openai", "psycopg", "pydantic", "pymysql", "sqlite3"}
    assert not loaded & drivers
    openers = {system.opens.partition(":")[0] for system in systems().values()}
    assert not loaded & openers
    assert not any(module.startswith("recall.sources.tables") for module in loaded)


def test_only_what_is_no_copy_erases() -> None:
    keeping = {name for name, system in systems().items() if not system.erases}
    assert keeping == {"chatgpt", "claude", "jsonl", "openai"}


def test_reasons_of_damaged_rows_are_known() -> None:
    assert {reason.value for reason in Reason if reason.damaged} == {
        "bad value",
        "gone",
        "line too long",
        "no key",
        "not JSON",
        "not a session",
        "not an object",
        "unknown type",
        "unreadable",
    }


def test_the_order_of_recognition_is_declared_without_doubt() -> None:
    for form in ("ids", "tables", "folder", "archive", "text"):
        looks: dict[int, set[object]] = {}
        for signature in filter(None, (getattr(each, form) for each in systems().values())):
            look = getattr(signature.look, "func", signature.look)
            looks.setdefault(signature.rank, set()).add(look)
        assert all(len(functions) == 1 for functions in looks.values()), form
