"""The rooms of recall, from the ground up, and what is inside them.

A room imports only from rooms of rows above its own here, and a module of a room only from rows
above its own within it. Two rooms of one row know nothing of each other.
"""

from __future__ import annotations

import ast
import sys
from collections import Counter
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import recall

PACKAGE = Path(recall.__file__).parent

#: From the ground up. The root of the package holds the version and nothing else.
ROOMS = (
    {"contract"},
    {"client", "base"},
    {"embedded", "embedding", "schema", "sources"},
    {"database"},
    {"memory"},
    {"indexing"},
    {"retrieval", "sync", "chaos"},
    {"runtime"},
    {"api", "evaluate"},
    {"bench"},
    {"cli"},
    {"__main__"},
)

#: Each room from its ground up: rows of modules, or of rooms within it.
INSIDE = {
    "contract": ("limits errors", "fields refusals", "values"),
    "base": ("folders pasted queries faults supervisor", "urls", "connecting settings"),
    "embedded": ("cluster", "keeper"),
    "embedding": (
        "cores identity sentences tokens",
        "batches derived",
        "embedder",
        "documents engines questions",
        "choice measure model",
    ),
    "embedding.engines": (
        "onnx_engine onnx_int8 torch_engine",
        "onnx_export",
        "whole",
        "derive",
    ),
    "schema": ("functions ground", "preflight shape", "migrate"),
    "sources": (
        "catalog reason",
        "system",
        "source",
        "reading",
        "tables",
        "systems",
        "recognition",
        "opening",
    ),
    "sources.reading": ("clock content extras files utterance", "rows", "steps"),
    "sources.tables": ("dialect", "pages mysql postgres sqlite", "databases", "chapters"),
    "sources.systems": ("exports jsonl langgraph moltnet openai openzess praisonai sql chatkit",),
    "sources.systems.chatkit": ("chatkit_items", "chatkit_tables"),
    "sources.systems.exports": ("export_files", "chatgpt claude"),
    "sources.systems.jsonl": ("json_lines",),
    "sources.systems.langgraph": ("checkpoints",),
    "sources.systems.moltnet": ("moltnet_messages", "moltnet_json", "moltnet_tables"),
    "sources.systems.openai": (
        "conversation_ids openai_items",
        "openai_agents openai_conversations",
    ),
    "sources.systems.openzess": ("openzess_tables",),
    "sources.systems.praisonai": (
        "praisonai_turns",
        "praisonai_sessions",
        "praisonai_tables",
    ),
    "sources.systems.sql": ("sql_query",),
    "database": ("caller connections vectors", "fetching transaction", "units", "bell"),
    "memory": ("forget keys memories sessions",),
    "indexing": (
        "cutting doctor languages profiles words",
        "graph jobs",
        "blame queue recipe",
        "holding",
        "worker",
    ),
    "retrieval": ("evidence pack rerank", "fuse", "hits", "search"),
    "sync": (
        "ahead hashes records store trigger",
        "followed tally",
        "entry leases",
        "backfill gone intake register",
        "sweep tail",
        "follow",
        "followers",
    ),
    "chaos": (
        "book certificate ports processes wire",
        "checks clients line pooler",
        "front",
        "neon",
        "stage",
        "director",
        "ordeal",
    ),
    "runtime": ("listening reach sample service status", "parts"),
    "api": (
        "answers connection counters given_up wire_errors",
        "gate",
        "admission bodies operations reading",
        "unpacking",
        "writing",
        "app",
    ),
    "evaluate": ("measures scratch sets", "asked", "evaluation recall_plot"),
    "bench": (
        "bench_server corpus figures made_up_history",
        "figures_plot floors",
        "load quality questioning",
        "ingest",
        "growth",
        "benchmark",
    ),
    "cli": (
        "frame terminal bench_report backfill_report follow_run rejects source_arguments",
        "backfill_run chaos_report",
        "backfill_command bench_command chaos_command doctor_command eval_command "
        "follow_command keys_command language_command migrate_command retry_command "
        "search_command serve_command status_command worker_command",
    ),
}

#: What a room may import from outside, where it must stay light.
LIGHT = {"contract": {"pydantic"}, "client": {"httpx", "pydantic"}}


@cache
def modules() -> dict[str, ast.Module]:
    """Return every module by its name within recall; a package stands for its `__init__`."""
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


def classes(name: str) -> list[ast.ClassDef]:
    """Return every class of a module, wherever it stands."""
    return [node for node in ast.walk(modules()[name]) if isinstance(node, ast.ClassDef)]


def rooms() -> set[str]:
    """Return every folder of the package."""
    return {
        ".".join(file.parent.relative_to(PACKAGE).parts)
        for file in PACKAGE.rglob("__init__.py")
        if file.parent != PACKAGE
    }


def rows(room: str) -> dict[str, int]:
    """Return the row of each part of a room; "" is the house."""
    if not room:
        return {name: row for row, names in enumerate(ROOMS) for name in names}
    return {name: row for row, names in enumerate(INSIDE.get(room, ())) for name in names.split()}


def parted(one: str, other: str) -> tuple[str, str, str]:
    """Return the innermost room that holds both modules, and the part of it that each is in."""
    room, left, right = "", one.split("."), other.split(".")
    while left[0] == right[0] and len(left) > 1 and len(right) > 1:
        room = f"{room}.{left[0]}".lstrip(".")
        left, right = left[1:], right[1:]
    return room, left[0], right[0]


def test_every_part_of_a_room_has_a_row() -> None:
    for room in ("", *rooms()):
        deep = len(room.split(".")) if room else 0
        parts = {
            name.split(".")[deep]
            for name in modules()
            if name.startswith(f"{room}." if room else "") and name not in ("", room)
        }
        assert set(rows(room)) == parts, room or "the house"


def test_a_module_imports_only_from_rows_above_its_own() -> None:
    wrong = []
    for name in modules():
        for other in imports(name):
            if not name or not other or name.startswith(f"{other}."):
                continue
            if other.startswith(f"{name}."):
                continue  # a room's front hands out what is inside it
            room, mine, its = parted(name, other)
            if rows(room)[its] >= rows(room)[mine]:
                wrong.append(f"{name} imports {other}")
    assert wrong == []


def test_there_is_no_import_cycle() -> None:
    TopologicalSorter({name: imports(name) for name in modules()}).prepare()


def test_no_file_name_stands_for_two_things() -> None:
    names = Counter(name.rpartition(".")[2] for name in modules() if name and name not in rooms())
    assert [name for name, times in names.items() if times > 1] == []


def public_names() -> dict[str, list[str]]:
    """Return where each public function and class stands; a command is a thing of its own."""
    found: dict[str, list[str]] = {}
    for module, tree in modules().items():
        for node in tree.body:
            if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                continue
            if not (node.name.startswith("_") or is_command(node)):
                found.setdefault(node.name, []).append(module)
    return found


def is_command(node: ast.AST) -> bool:
    """Return whether a function is what the command line calls."""
    called = [getattr(each, "func", each) for each in getattr(node, "decorator_list", ())]
    return any(getattr(each, "attr", "") == "command" for each in called)


def test_no_public_name_stands_for_two_things() -> None:
    assert {name: places for name, places in public_names().items() if len(places) > 1} == {}


def test_what_must_stay_light_imports_nothing_heavy() -> None:
    standard = sys.stdlib_module_names
    for room, allowed in LIGHT.items():
        for name, tree in modules().items():
            if name.split(".")[0] != room:
                continue
            for node in ast.walk(tree):
                if isinstance(node, ast.Import):
                    roots = {alias.name.split(".")[0] for alias in node.names}
                elif isinstance(node, ast.ImportFrom):
                    roots = {(node.module or "").split(".")[0]}
                else:
                    continue
                assert roots <= standard | allowed | {"recall"}, f"{name} imports {roots}"


def test_all_errors_stand_in_one_tree() -> None:
    """Beside it one would have no type on the wire."""
    tree = {node.name for node in classes("contract.errors")}
    wrong = [
        f"{name}.{node.name}"
        for name in modules()
        if name != "contract.errors"
        for node in classes(name)
        if any(getattr(base, "attr", getattr(base, "id", "")) in tree for base in node.bases)
    ]
    assert wrong == []


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
    pure = {"retrieval.fuse", "retrieval.pack", "indexing.cutting", "indexing.words"}
    for name in modules():
        if name.split(".")[0] in {"api", "contract", "client"} or name in pure:
            assert "base.queries" not in imports(name), name
