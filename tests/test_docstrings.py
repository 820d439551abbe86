"""A public function's docstring names the errors of recall that come out of it.

Judged by reading the code, not by running it: an error comes out of a function when its body,
functions inside it included, raises one of the tree in `recall/contract/errors.py` or calls a
function or method of its own module out of which one comes, and no handler around that statement
catches it. A docstring that names an error's base names the error; one that says "raises what
`other` raises" names those of that function.
"""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

import recall
from recall.contract import errors

PACKAGE = Path(recall.__file__).parent
TREE = {name: value for name, value in vars(errors).items() if isinstance(value, type)}
ROOMS = sorted(folder.name for folder in PACKAGE.iterdir() if (folder / "__init__.py").exists())

#: Decorators of commands and routes, whose docstrings are shown to users: they see no exception.
SHOWN_TO_USERS = {"command", "callback", "get", "post", "put", "delete"}

Function = ast.FunctionDef | ast.AsyncFunctionDef


def functions(tree: ast.Module) -> dict[str, Function]:
    """Return a module's functions, and its classes' methods as "Class.method"."""
    found: dict[str, Function] = {}
    for node in tree.body:
        if isinstance(node, Function):
            found[node.name] = node
        elif isinstance(node, ast.ClassDef):
            methods = [each for each in node.body if isinstance(each, Function)]
            found |= {f"{node.name}.{method.name}": method for method in methods}
    return found


class Errors(ast.NodeVisitor):
    """Collects what comes out of a function, given what comes out of the others by now."""

    def __init__(self, name: str, known: dict[str, Function], out: dict[str, set[str]]) -> None:
        self._owner = name.rpartition(".")[0]
        self._known, self._out = known, out
        self.found: set[str] = set()

    def visit_Raise(self, node: ast.Raise) -> None:
        if node.exc is not None:
            self.found |= self._made(node.exc)
        self.generic_visit(node)

    def visit_Call(self, node: ast.Call) -> None:
        called = _name(node.func)
        if isinstance(node.func, ast.Name):
            self.found |= self._out.get(called, set()) | self._out.get(f"{called}.__init__", set())
        elif _name(getattr(node.func, "value", node)) == "self":
            self.found |= self._out.get(f"{self._owner}.{called}", set())
        self.generic_visit(node)

    def visit_Try(self, node: ast.Try) -> None:
        outside, self.found = self.found, set()
        for statement in node.body:
            self.visit(statement)
        caught = tuple(TREE[name] for handler in node.handlers for name in _caught(handler))
        self.found = outside | {name for name in self.found if not issubclass(TREE[name], caught)}
        for part in (*node.handlers, *node.orelse, *node.finalbody):
            self.visit(part)

    def _made(self, raised: ast.expr) -> set[str]:
        """Return the error that an expression is: a class, its value, or made by a function."""
        name = _name(raised.func if isinstance(raised, ast.Call) else raised)
        if name in self._known and (returned := self._known[name].returns) is not None:
            name = _name(returned)
        return {name} & set(TREE)


def _name(node: ast.AST) -> str:
    return str(getattr(node, "attr", getattr(node, "id", "")))


def _caught(handler: ast.ExceptHandler) -> set[str]:
    """Return the errors of recall that a handler ends; one that raises again ends none."""
    if handler.type is None or any(
        isinstance(n, ast.Raise) and not n.exc for n in ast.walk(handler)
    ):
        return set()
    types = handler.type.elts if isinstance(handler.type, ast.Tuple) else [handler.type]
    names = {_name(each) for each in types}
    return set(TREE) if "Exception" in names else names & set(TREE)


def come_out(known: dict[str, Function]) -> dict[str, set[str]]:
    """Return by function the errors of recall that come out of it, its module's calls followed."""
    out: dict[str, set[str]] = {name: set() for name in known}
    while True:
        before = {name: set(found) for name, found in out.items()}
        for name, function in known.items():
            errors_of = Errors(name, known, out)
            for each in function.body:
                errors_of.visit(each)
            out[name] |= errors_of.found
        if out == before:
            return out


def named(error: str, docstring: str) -> bool:
    """Return whether a docstring names an error or a base of it, RecallError as "Raises"."""
    bases = [base.__name__ for base in TREE[error].__mro__ if issubclass(base, errors.RecallError)]
    return any(name in docstring for name in bases[:-1] or ["Raises", "raises"])


def silent(text: str) -> list[str]:
    """Return a line for each public function of a module whose docstring leaves an error out."""
    known = functions(ast.parse(text))
    said = {name.rpartition(".")[2]: ast.get_docstring(each) or "" for name, each in known.items()}
    wrong = []
    for name, found in come_out(known).items():
        shown = {_name(getattr(d, "func", d)) for d in known[name].decorator_list} & SHOWN_TO_USERS
        if shown or any(part.startswith("_") for part in name.split(".")):
            continue
        docstring = ast.get_docstring(known[name]) or ""
        for other in re.findall(r"aises what `(\w+)`", docstring):
            docstring += said.get(other, "")
        if missing := sorted(error for error in found if not named(error, docstring)):
            wrong.append(f"{name} raises {', '.join(missing)}")
    return wrong


def test_an_error_is_followed_to_where_it_comes_out() -> None:
    text = """
def told(): "Do it; raises Unavailable when it cannot be done.\\n\\nOverloaded is one."; _deep()
def silent(): "Do it."; return [lambda: _deep()]
def referring(): "Do it; raises what `told` raises."; _deep()
def _deep():
    def inner(): raise Overloaded("")
    return inner
def caught():
    "Do it."
    try: _deep()
    except Unavailable: pass
def caught_in_vain():
    "Do it."
    try: _deep()
    except NotReady: pass
class Thing:
    def __init__(self): raise errors.Invalid("")
    def method(self): "Do it."; self._other()
    def _other(self): raise _made()
def _made() -> NotFound: return NotFound("")
def makes(): "Do it."; Thing()
"""
    assert silent(text) == [
        "silent raises Overloaded",
        "caught_in_vain raises Overloaded",
        "Thing.method raises NotFound",
        "makes raises Invalid",
    ]


@pytest.mark.parametrize("room", ROOMS)
def test_a_docstring_names_the_errors_that_come_out(room: str) -> None:
    wrong = {
        str(file.relative_to(PACKAGE)): lines
        for file in sorted((PACKAGE / room).rglob("*.py"))
        if (lines := silent(file.read_text(encoding="utf-8")))
    }
    assert wrong == {}
