"""Large batches, read beside the event loop and a memory at a time.

Parsed in one go, a body of megabytes keeps everybody waiting and may become thirty times its size
before anything in it is looked at. Here each memory is parsed and checked before the next is, so
that the first thing wrong ends it; between two of them the other requests go on.
"""

from __future__ import annotations

import asyncio
import codecs
import json
import re
from concurrent.futures import ThreadPoolExecutor
from json import JSONDecodeError
from typing import TYPE_CHECKING, Any, NoReturn

from fastapi import Request
from fastapi.routing import APIRoute
from pydantic import ValidationError

from recall.api.bodies import BATCHES
from recall.contract.errors import Invalid
from recall.contract.limits import LARGEST_BATCH, LONGEST_ID
from recall.contract.refusals import sentence
from recall.contract.values import Message, Note

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator

    from fastapi import Response

#: Bytes of a body from which on it is read here.
LARGE = 256 * 1024
#: Bytes of one memory as JSON, at most: each of 200,000 characters takes 12 when it is escaped as a
#: surrogate pair.
LARGEST_MEMORY = 4 * 1024 * 1024
MEMORIES: dict[str, type[Message] | type[Note]] = {"messages": Message, "notes": Note}

#: One thread, because two bodies that are parsed side by side would hold twice the memory.
_THREAD = ThreadPoolExecutor(1, "recall-batches")
_SPACE = re.compile(r"[ \t\n\r]*")
_DECODER = json.JSONDecoder()


class Batch(APIRoute):
    """A route whose body, when it is a large batch, is read here."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return FastAPI's handler, given a request whose JSON is read by `read_batch`."""
        handle = super().get_route_handler()

        async def handle_own(request: Request) -> Response:
            return await handle(_Request(request.scope, request.receive))

        return handle_own


class _Request(Request):
    async def json(self) -> Any:
        body = await self.body()
        if len(body) < LARGE or self.scope["path"] not in BATCHES:
            return await super().json()
        return await asyncio.get_running_loop().run_in_executor(_THREAD, read_batch, body)


def read_batch(body: bytes) -> dict[str, Any]:
    """Return a batch as its one field, with the memories made of it.

    Raises Invalid for a value that breaks a limit, JSONDecodeError for what is no JSON.
    """
    window = _Window(body)
    window.take("{")
    if window.next() == "}":
        return {}
    name = window.value("The body")
    if not isinstance(name, str) or name not in MEMORIES:
        _refuse_field(name)
    window.take(":")
    if window.next() != "[":
        raise Invalid(f"{name} must be a list.", name)
    made = list(_memories(window, name))
    if window.next() == ",":
        window.take(",")
        _refuse_field(window.value("The body"))
    window.take("}")
    if window.next():
        window.fail("Extra data")
    return {name: made}


def _refuse_field(name: Any) -> NoReturn:
    field = str(name)[:LONGEST_ID]
    raise Invalid(f"{field} is not a field that recall knows.", field)


def _memories(window: _Window, name: str) -> Iterator[Message | Note]:
    window.take("[")
    count = 0
    while window.next() != "]" or count:
        if count == LARGEST_BATCH:
            raise Invalid(f"{name} must have at most {LARGEST_BATCH} elements.", name)
        where = f"{name}[{count}]"
        try:
            yield MEMORIES[name].model_validate(window.value(where))
        except ValidationError as error:
            field, message = sentence(error, where)
            raise Invalid(message, field) from error
        count += 1
        if window.next() != ",":
            break
        window.take(",")
    window.take("]")


class _Window:
    """A stretch of a body as text, large enough for one memory, that moves on as it is read."""

    def __init__(self, body: bytes) -> None:
        self._body = memoryview(body)
        self._begin = self._end = 0
        self._text = ""
        self._place = 0
        self._move()

    def next(self) -> str:
        """Return the next character that is no white space; none at the end."""
        while True:
            space = _SPACE.match(self._text, self._place)
            assert space is not None
            self._place = space.end()
            if self._place < len(self._text) or not self._more():
                return self._text[self._place : self._place + 1]
            self._move()

    def take(self, character: str) -> None:
        """Pass the next character; raises JSONDecodeError when it is not `character`."""
        if self.next() != character:
            self.fail(f"Expecting {character!r}")
        self._place += 1

    def value(self, where: str) -> Any:
        """Return the value that begins here and pass it; raises Invalid when no window holds it."""
        self.next()
        if self._place and self._more() and len(self._text) - self._place < LARGE:
            self._move()
        while True:
            try:
                value, end = _DECODER.raw_decode(self._text, self._place)
                if end < len(self._text) or not self._more():
                    self._place = end
                    return value
            except JSONDecodeError:
                if not self._more():
                    raise
            if not self._place:
                raise Invalid(f"{where} is not JSON, or takes more than {LARGEST_MEMORY} bytes.")
            self._move()

    def fail(self, why: str) -> None:
        """Raise JSONDecodeError at the place reached."""
        raise JSONDecodeError(why, self._text, self._place)

    def _more(self) -> bool:
        return self._end < len(self._body)

    def _move(self) -> None:
        """Let the window begin at the place reached."""
        self._begin += len(self._text[: self._place].encode("utf-8", "surrogatepass"))
        part = self._body[self._begin : self._begin + LARGEST_MEMORY]
        last = self._begin + len(part) == len(self._body)
        self._text, used = codecs.utf_8_decode(part, "surrogatepass", last)
        self._end = self._begin + used
        self._place = 0
