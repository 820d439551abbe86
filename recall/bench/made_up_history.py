"""A made-up history: sessions with topics, a small grammar, words as rare as real ones.

Words are drawn by rank as in real text (Zipf: the n-th as often as 1 / (n + 2.7)), a third of them
from the session's own topic. The same size is the same history.
"""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from itertools import accumulate, product

from recall.contract.values import Message

VOCABULARY = 20_000
TURNS = 20  # a session
TOPIC = 30  # words
FIRST = datetime(2025, 1, 6, 9, tzinfo=UTC)
PATTERNS = (
    "did we {} the {} for {} after the {}?",
    "the {} is {} because {} {} before the {}",
    "I think {} should {} with {}",
    "yes, and the {} {} too",
    "please {} the {} and {} it to {} until {}",
    "no idea; ask {} about the {} {} of {}",
    "it says {} {} in {}, so we {} the {} and then the {} again",
    "{}: {} {}",
    "remember that {} wants the {} by {} and not by {}",
)


def made_up_history(size: int) -> list[Message]:
    """Return `size` messages."""
    chance = random.Random(size)
    words = _vocabulary(chance)
    weights = list(accumulate(1 / (rank + 2.7) for rank in range(len(words))))
    messages: list[Message] = []
    for session in range(-(-size // TURNS)):
        topic = chance.choices(words, cum_weights=weights, k=TOPIC)
        for turn in range(min(TURNS, size - len(messages))):
            messages.append(
                Message(
                    session_id=f"session/{session}",
                    key=f"session/{session}/{turn}",
                    role="assistant" if turn % 2 else "user",
                    author="Agent" if turn % 2 else f"Person {session % 7}",
                    content=_sentences(chance, words, weights, topic),
                    created_at=FIRST + timedelta(hours=session, minutes=turn),
                )
            )
    return messages


def _sentences(
    chance: random.Random, words: list[str], weights: list[float], topic: list[str]
) -> str:
    said = []
    for pattern in chance.choices(PATTERNS, k=chance.choice((1, 1, 2, 3))):
        blanks = pattern.count("{}")
        drawn = chance.choices(words, cum_weights=weights, k=blanks)
        of_topic = [chance.choice(topic) if chance.random() < 1 / 3 else word for word in drawn]
        said.append(pattern.format(*of_topic))
    return ". ".join(said)


def _vocabulary(chance: random.Random) -> list[str]:
    syllables = [a + b for a, b in product("bdfgklmnprstvz", "aeiou")]
    words: dict[str, None] = {}
    while len(words) < VOCABULARY:
        words["".join(chance.choices(syllables, k=chance.choice((1, 2, 2, 3))))] = None
    return list(words)
