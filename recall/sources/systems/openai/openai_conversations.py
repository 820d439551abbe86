"""OpenAI's Conversations API: the items of conversations whose ids are given.

The API lists no conversations, so the ids come from outside: a file of them, one a line or as a
JSON array, or the array of `{id, title, …}` that an app kept in a browser's localStorage. Items
have no time: each gets its conversation's, and a millisecond more than the one before it. Keys are
`openai:CONVERSATION/ITEM`.
"""

from __future__ import annotations

import re
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from recall.contract.errors import SourceUnreadable
from recall.contract.values import Message
from recall.sources.reading.clock import UNKNOWN, instant
from recall.sources.reading.content import mapping, name, parsed, words
from recall.sources.reading.extras import extra
from recall.sources.reading.rows import Skip, Step, key_of, keys, resumed, tell
from recall.sources.systems.openai.openai_items import said

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from recall.sources.reading.rows import Item
    from recall.sources.source import Found, Position, Skipped

NAME = "openai"
PAGE = 100  # the most that the API gives at once; its default of 20 takes five times the calls
GONE = -1  # in a position, the number of the only row of a conversation that is not there
_IDS = re.compile(r"conv_[A-Za-z0-9_-]+")


class Conversation(NamedTuple):
    """A conversation as it is listed outside of the API."""

    id: str
    title: str | None = None
    time: datetime | None = None


def open_source(
    target: str,
    *,
    api_key: str | None = None,
    base_url: str | None = None,
    include_hidden: bool = False,
) -> Conversations:
    """Return the conversations that the file `target`, or `target` itself, lists by their ids.

    Key and address default to what the openai client takes from the environment.
    """
    openai = extra("openai", "openai")
    listed = conversations(target)
    if not listed:
        raise SourceUnreadable(f"{target} lists no conversation id (conv_…).")
    given = {"api_key": api_key, "base_url": base_url}
    options = {option: value for option, value in given.items() if value}
    try:
        with openai.OpenAI(**options) as client:
            address = str(client.base_url)
    except openai.OpenAIError as error:
        raise SourceUnreadable(f"The openai client cannot start: {error}.") from error
    is_file = len(target) < 4096 and Path(target).is_file()
    origin = str(Path(target).absolute()) if is_file else address
    return Conversations(origin, listed, options, include_hidden)


def conversations(target: str) -> list[Conversation]:
    """Return the conversations listed in a file, or in the text `target` itself."""
    try:
        is_file = Path(target).is_file()
    except OSError:  # a text longer than a path can be
        is_file = False
    text = Path(target).read_text("utf-8-sig", "replace") if is_file else target
    found = _listed(parsed(text)) or [Conversation(found) for found in _IDS.findall(text)]
    return list({conversation.id: conversation for conversation in found}.values())


def _listed(data: Any, depth: int = 0) -> list[Conversation]:
    """Return the conversations in a JSON of any shape that apps and browsers keep."""
    if depth > 4:
        return []
    if isinstance(data, str):
        inner = parsed(data) if data[:1] in "[{" else None
        return _listed(inner, depth + 1) if inner else [Conversation(i) for i in _IDS.findall(data)]
    if isinstance(data, list):
        return [conversation for entry in data for conversation in _listed(entry, depth + 1)]
    if not isinstance(data, dict):
        return []
    own = words(data.get("id"))
    if _IDS.fullmatch(own):
        time = data.get("createdAt") or data.get("created_at")
        return [Conversation(own, name(data.get("title")), instant(time))]
    return [conversation for entry in data.values() for conversation in _listed(entry, depth + 1)]


class Conversations:
    """Conversations in the listed order; a position is a conversation, an item and its number."""

    name = NAME

    def __init__(
        self, origin: str, listed: list[Conversation], options: dict[str, str], hidden: bool
    ) -> None:
        self.origin = origin
        self._listed = listed
        self._options = options
        self._hidden = hidden

    def count(self) -> None:
        """Return None: the API counts nothing."""

    def read(self, after: Position | None = None) -> Iterator[Found | Skipped]:
        """Yield every item behind `after`."""
        return resumed(self._steps, after)

    def rewind(self, position: Position) -> Position | None:
        """Return the start: a conversation before this one may have grown."""
        return None

    def fingerprint(self) -> None:
        """Return None: only reading tells."""

    def ids(self) -> Iterator[str]:
        """Yield the keys of all items that are there now."""
        return keys(self.read())

    def _steps(self, after: Position | None) -> Iterator[Step]:
        openai = extra("openai", "openai")
        first, last, number = after or ("", None, 0)
        ids = [conversation.id for conversation in self._listed]
        start = ids.index(first) if first in ids else 0
        with openai.OpenAI(**self._options) as client:
            for conversation in self._listed[start:]:
                behind = (last, number) if conversation.id == first else (None, 0)
                if behind[1] == GONE:
                    continue
                try:
                    yield from self._items(client, conversation, behind)
                except openai.NotFoundError as error:
                    gone = Skip("gone", conversation.id, str(error))
                    yield Step([conversation.id, None, GONE], [[gone]])
                except openai.OpenAIError as error:
                    raise SourceUnreadable(
                        f"The conversation {conversation.id} cannot be read: {error}."
                    ) from error

    def _items(
        self, client: Any, conversation: Conversation, behind: tuple[str | None, int]
    ) -> Iterator[Step]:
        last, number = behind
        about = client.conversations.retrieve(conversation.id)
        started = instant(about.created_at) or conversation.time or UNKNOWN
        pages = client.conversations.items.list(
            conversation.id, limit=PAGE, order="asc", **({"after": last} if last else {})
        )
        known = mapping(about.metadata)
        for item in pages:  # the client asks for the next page when it is needed
            number += 1
            # The raw fields: an unknown type comes as an object of the class Message.
            fields: dict[str, Any] = item.model_dump(exclude_unset=True, warnings=False)
            time = started + timedelta(milliseconds=number)
            row = self._row(conversation, fields, time, known)
            yield Step([conversation.id, words(fields.get("id")) or None, number], [row])

    def _row(
        self,
        conversation: Conversation,
        item: dict[str, Any],
        time: datetime,
        known: dict[str, Any],
    ) -> list[Item]:
        key = key_of(NAME, conversation.id, words(item.get("id")) or time.isoformat())
        told = said(item, self._hidden)
        if told.reason:
            return [Skip(told.reason, key, words(item.get("type")))]
        return tell(
            Message,
            key,
            told.text,
            session_id=conversation.id,
            session_title=conversation.title or name(known.get("title")),
            role=told.role,
            user_id=name(known.get("user_id")),
            created_at=time,
            metadata={
                "source": NAME,
                **told.facts,
                "conversation": known,
                "time_estimated": True,
            },
        )
