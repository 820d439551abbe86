"""JSON that is damaged: values that become something else, or are gone."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

from hypothesis import strategies as st

if TYPE_CHECKING:
    from collections.abc import Iterable

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=8) | st.sampled_from(
    ["", " ", "\x00", "{}", "[]", "null", "2026-01-01T00:00:00Z", "0001-01-01T00:00:00Z", "1e999"]
)


PLAIN = st.none() | st.booleans() | st.integers(-(2**62), 2**62) | st.floats() | TEXT


JSON = st.recursive(
    PLAIN,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=6,
)


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Return the path to every value inside a JSON."""
    inner: Iterable[tuple[Any, Any]] = value.items() if isinstance(value, dict) else ()
    inner = enumerate(value) if isinstance(value, list) else inner
    return [path, *(p for key, each in inner for p in places(each, (*path, key)))]


@st.composite
def mutated(draw: st.DrawFn, value: Any) -> Any:
    """Return a JSON of which up to three values became something else, or are gone."""
    whole = [copy.deepcopy(value)]
    for _ in range(draw(st.integers(1, 3))):
        path = draw(st.sampled_from(places(whole[0])))
        target: Any = whole
        for key in (0, *path[:-1]) if path else ():
            target = target[key]
        last = path[-1] if path else 0
        if isinstance(target, dict) and draw(st.booleans()):
            del target[last]
        else:
            target[last] = draw(JSON)
    return whole[0]


ITEMS = [
    {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "x"}]},
    {"type": "function_call_output", "output": [{"type": "input_image", "image_url": "data:,"}]},
    {"type": "code_interpreter_call", "code": "x", "outputs": [{"type": "logs", "logs": "y"}]},
    {"type": "web_search_call", "action": {"query": "x", "sources": [{"url": "y"}]}},
    {"type": "file_search_call", "queries": ["x"], "results": [{"filename": "f", "text": "t"}]},
    {"type": "local_shell_call", "action": {"command": ["ls"]}},
    {"type": "apply_patch_call", "operation": {"path": "p", "diff": "d"}},
]
