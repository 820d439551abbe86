"""From text to tokens: what the keyword leg can find.

Postgres's own parser would decide what a word is, and it splits `ERR_CONN_42`, keeps a URL in one
piece only, and sees a Chinese sentence as a single word. Here a token is cut so that it can be
found whole and in parts; Postgres's dictionaries then stem it and drop stop words
(`sql/functions/words.sql`). The same cut serves memories and questions.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

#: Characters: a longer run is encoded data, and no word.
LONGEST_TOKEN = 100
#: Characters of a run whose tokens are cached: longer runs are cut anew each time, so the cache
#: stays small whatever is sent. Tokens of one that is not ASCII take several times its room.
LONGEST_REMEMBERED, LONGEST_REMEMBERED_WIDE = 64, 16

_CJK = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\uac00-\ud7af\u1100-\u11ff"
# A run of Chinese, Japanese or Korean; or word characters, joined by single connectors.
_RUN = re.compile(rf"[{_CJK}]+|[^\W{_CJK}]+(?:(?:://|[./\\@:_+#~-])[^\W{_CJK}]+)*")
_SEGMENT = re.compile(r"://|[/\\@]")
_VERSION = re.compile(r"v?(\d+(?:\.\d+)+)", re.IGNORECASE)
# Humps of CamelCase, and digits apart from letters.
_HUMP = re.compile(
    r"[^\W\d_a-z]+(?=[^\W\d_a-z][^\W\d_A-Z])|[^\W\d_a-z]?[^\W\d_A-Z]+|[^\W\d_a-z]+|\d+"
)
_CONNECTOR = re.compile(r"[\W_]+")
_PHRASE = re.compile(r'(-?)"([^"]*)"')
_EXCLUDED = re.compile(r"(?<!\S)-(?=\w)(\S+)")


class Token(NamedTuple):
    """A lower-case token at its place; parts of one word share or follow the place of the whole."""

    text: str
    place: int


@dataclass(frozen=True, slots=True)
class Words:
    """A question's words: `tokens` may match, `phrases` must, `excluded` must not.

    A phrase is a tuple of tokens that stand side by side, in that order.
    """

    tokens: tuple[str, ...]
    phrases: tuple[tuple[str, ...], ...] = ()
    excluded: tuple[tuple[str, ...], ...] = ()


def tokens(text: str) -> list[Token]:
    """Return every token of `text`, places counted from 1."""
    cut: list[Token] = []
    place = 1
    for run in _RUN.findall(unicodedata.normalize("NFKC", text)):
        wholes, atoms = _cut(run)
        for whole in wholes:
            cut.append(Token(whole, place))
        for atom in atoms:
            cut.append(Token(atom, place))
            place += 1
    return cut


def atoms(text: str) -> tuple[str, ...]:
    """Return the smallest tokens of `text` in order: what a phrase is compared by."""
    runs = _RUN.findall(unicodedata.normalize("NFKC", text))
    return tuple(atom for run in runs for atom in _cut(run)[1])


def question_words(text: str) -> Words:
    """Return the words of a question, with its "quoted phrases" and its -excluded words apart."""
    phrases: list[tuple[str, ...]] = []
    excluded: list[tuple[str, ...]] = []
    for minus, quoted in _PHRASE.findall(text):
        (excluded if minus else phrases).append(atoms(quoted))
    rest = _PHRASE.sub(lambda match: " " if match[1] else f" {match[2]} ", text)
    excluded.extend(atoms(word) for word in _EXCLUDED.findall(rest))
    rest = _EXCLUDED.sub(" ", rest)
    return Words(
        tuple(dict.fromkeys(token.text for token in tokens(rest))),
        tuple(phrase for phrase in phrases if phrase),
        tuple(phrase for phrase in excluded if phrase),
    )


def _cut(run: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the wholes of a run (besides its atoms) and its atoms in order."""
    longest = LONGEST_REMEMBERED if run.isascii() else LONGEST_REMEMBERED_WIDE
    return _cut_once(run) if len(run) <= longest else _cut_anew(run)


def _cut_anew(run: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    if _is_cjk(run[0]):
        # Bigrams find words of two characters and more; single characters find the rest.
        return tuple(run[i : i + 2] for i in range(len(run) - 1)), tuple(run)
    if run.isalpha() and (run.islower() or run.istitle() or run.isupper()):
        return (), (run.lower(),) if len(run) <= LONGEST_TOKEN else ()
    if version := _VERSION.fullmatch(run):
        return (run.lower(),) if run[0] in "vV" else (), (version[1],)
    segments = _SEGMENT.split(run)
    parts = [_HUMP.findall(piece) for s in segments for piece in _CONNECTOR.split(s)]
    pieces = [piece.lower() for humps in parts for piece in humps if len(piece) <= LONGEST_TOKEN]
    wholes = [run, *segments, *(piece for s in segments for piece in _CONNECTOR.split(s))]
    lower = (whole.lower() for whole in wholes if 0 < len(whole) <= LONGEST_TOKEN)
    known = set(pieces)
    return tuple(w for w in dict.fromkeys(lower) if w not in known), tuple(pieces)


_cut_once = lru_cache(maxsize=65_536)(_cut_anew)


def _is_cjk(character: str) -> bool:
    return re.match(f"[{_CJK}]", character) is not None
