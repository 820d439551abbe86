"""The stack of design.md §2: a module imports only from rows above its own."""

from __future__ import annotations

import ast
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import recall

PACKAGE = Path(recall.__file__).parent

#: From the ground up. A part of a package may stand on a row of its own.
ROWS = (
    {"errors", "pasted"},
    {"urls"},
    {"settings", "models", "queries", "folders", "faults", "supervisor", "listening"},
    {"functions"},
    {"shape", "evidence", "vectors", "words", "text", "cluster", "connections", "connecting"},
    {"fuse", "embedded", "ground"},
    {"database"},
    {"embedding"},
    {"migrate", "memories", "queue", "profiles", "keys", "history", "status", "index"}
    | {"languages", "expand", "pack", "rerank", "bell"},
    {"doctor", "search", "holding", "sources"},
    {"worker"},
    {"preflight"},
    {"build", "sample", "service", "backfill"},
    {"evaluate", "trigger"},
    {"register"},
    {"follow"},
    {"followers"},
    {"runtime"},
    {"tables"},
    {"api", "backfill_command", "follow_command", "evaluate.command", "chaos"},
    {"cli"},
    {"__main__"},
)


@cache
def modules() -> dict[str, ast.Module]:
    found = {}
    for file in sorted(PACKAGE.rglob("*.py")):
        parts = file.relative_to(PACKAGE).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        found[name] = ast.parse(file.read_text(encoding="utf-8"))
    return found


def imports(name: str) -> set[str]:
    """Return recall's modules that `name` imports, those inside functions and for types too."""
    found = set()
    for node in ast.walk(modules()[name]):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name}: a relative import says nothing of where it points"
            module = node.module or ""
            inside = {f"{module}.{alias.name}" for alias in node.names}
            known = {each for each in inside if each.removeprefix("recall.") in modules()}
            found |= known
            if len(known) < len(inside):
                found.add(module)
    ours = {each.removeprefix("recall.") for each in found if each.startswith("recall.")}
    return ours - {name}


def row(name: str) -> int:
    """Return the row of a module, its own or its package's."""
    while name:
        for place, names in enumerate(ROWS):
            if name in names:
                return place
        name = name.rpartition(".")[0]
    raise AssertionError("not in the stack")


def package(name: str) -> str:
    return name.partition(".")[0]


def test_every_module_has_a_row() -> None:
    for name in modules():
        if name:
            row(name)


def test_every_row_names_modules_that_exist() -> None:
    assert set().union(*ROWS) - set(modules()) == set()


def test_a_module_imports_only_from_rows_above_its_own() -> None:
    wrong = [
        f"{name} imports {other}"
        for name in modules()
        if name
        for other in imports(name)
        if row(other) >= row(name) and package(other) != package(name)
    ]
    assert wrong == []


def test_there_is_no_import_cycle() -> None:
    TopologicalSorter({name: imports(name) for name in modules()}).prepare()


def test_nothing_imports_a_private_name_of_another_module() -> None:
    wrong = [
        f"{name} imports {alias.name} from {node.module}"
        for name, tree in modules().items()
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("recall")
        for alias in node.names
        if alias.name.startswith("_") and alias.name != "__version__"
    ]
    assert wrong == []


def test_the_database_is_spoken_to_from_few_places() -> None:
    """HTTP knows no SQL, and what is pure stays pure."""
    for name in modules():
        if package(name) == "api" or name in {"fuse", "text", "words", "models"}:
            assert "queries" not in imports(name), name
