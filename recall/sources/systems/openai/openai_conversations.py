"""OpenAI's Conversations API: the items of conversations whose ids are given.

The API lists no conversations, so the ids come from outside: a file of them, one a line or as a
JSON array, or the array of `{id, title, …}` that an app kept in a browser's localStorage. Items
have no time: each gets its conversation's, and a millisecond more than the one before it. Keys are
`openai:CONVERSATION/ITEM`.
"""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from recall.contract.errors import SourceUnreadable
from recall.contract.values import Message
from recall.sources.reading.clock import UNKNOWN, instant
from recall.sources.reading.content import mapping, name, text_of
from recall.sources.reading.extras import extra
from recall.sources.reading.rows import Skip, items_of, key_of
from recall.sources.reading.steps import Step, keys, resumed
from recall.sources.reason import Reason
from recall.sources.systems.openai import CONVERSATIONS
from recall.sources.systems.openai.conversation_ids import listed_conversations
from recall.sources.systems.openai.openai_items import openai_utterance

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from recall.sources.reading.rows import Item
    from recall.sources.source import Found, Position, Skipped
    from recall.sources.systems.openai.conversation_ids import Conversation

_PAGE = 100  # the most that the API gives at once; its default of 20 takes five times the calls
_GONE = -1  # in a position, the number of the only row of a conversation that is not there


def openai_history(
    target: str,
    *,
    api_key: str | None = None,
    base_url: str | None = None,
    include_hidden: bool = False,
) -> Conversations:
    """Return the conversations that the file `target`, or `target` itself, lists by their ids.

    Key and address default to what the openai client takes from the environment. Raises
    SourceUnreadable when no id is listed or the client cannot start.
    """
    openai = extra("openai", "openai")
    listed = listed_conversations(target)
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


class Conversations:
    """Conversations in the listed order; a position is a conversation, an item and its number."""

    system = CONVERSATIONS

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
                if behind[1] == _GONE:
                    continue
                try:
                    yield from self._items(client, conversation, behind)
                except openai.NotFoundError as error:
                    gone = Skip(Reason.GONE, conversation.id, str(error))
                    yield Step([conversation.id, None, _GONE], [[gone]])
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
            conversation.id, limit=_PAGE, order="asc", **({"after": last} if last else {})
        )
        known = mapping(about.metadata)
        for item in pages:  # the client asks for the next page when it is needed
            number += 1
            # The raw fields: an unknown type comes as an object of the class Message.
            fields: dict[str, Any] = item.model_dump(exclude_unset=True, warnings=False)
            time = started + timedelta(milliseconds=number)
            row = self._row(conversation, fields, time, known)
            yield Step([conversation.id, text_of(fields.get("id")) or None, number], [row])

    def _row(
        self,
        conversation: Conversation,
        item: dict[str, Any],
        time: datetime,
        known: dict[str, Any],
    ) -> list[Item]:
        key = key_of(
            CONVERSATIONS.name, conversation.id, text_of(item.get("id")) or time.isoformat()
        )
        utterance = openai_utterance(item, self._hidden)
        if utterance.reason:
            return [Skip(utterance.reason, key, text_of(item.get("type")))]
        return items_of(
            Message,
            key,
            utterance.text,
            session_id=conversation.id,
            session_title=conversation.title or name(known.get("title")),
            role=utterance.role,
            user_id=name(known.get("user_id")),
            created_at=time,
            metadata={
                "source": CONVERSATIONS.name,
                **utterance.facts,
                "conversation": known,
                "time_estimated": True,
            },
        )
