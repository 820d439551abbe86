"""What becomes of a source's row: memories within recall's limits, or a skip with its reason."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from recall.contract.limits import LARGEST_METADATA, LONGEST_CONTENT, LONGEST_ID, LONGEST_TITLE
from recall.contract.values import Message, Note
from recall.sources.reason import Reason

#: Room for the "#2" of a second piece behind a key.
LONGEST_KEY = LONGEST_ID - 8
#: A file inlined into a text: nobody asks for its bytes, and they drown the words around them.
_INLINED = re.compile(r"data:([\w.+-]+/[\w.+-]+)?(?:;[\w.=+-]+)*;base64,[A-Za-z0-9+/=_-]{200,}")


@dataclass(frozen=True, slots=True)
class Skip:
    """A row that is no memory, before its position is known."""

    reason: Reason
    where: str
    detail: str = ""


Item = Message | Note | Skip


def bounded(text: str, longest: int = LONGEST_ID) -> str:
    """Return `text`, its tail replaced by its hash when it is too long: different stays so."""
    if len(text) <= longest:
        return text
    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:32]
    return f"{text[: longest - 33]}~{digest}"


def key_of(source: str, *parts: object) -> str:
    """Return the key "source:part/part", short enough for recall."""
    return bounded(f"{source}:{'/'.join(str(part) for part in parts)}", LONGEST_KEY)


def short_hash(*parts: object) -> str:
    """Return a short hash of values: the identity of a row that has no id."""
    text = json.dumps(parts, ensure_ascii=False, default=str, sort_keys=True)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:24]


def items_of(kind: type[Message | Note], key: str, content: str, **fields: Any) -> list[Item]:
    """Return `content` as one memory, as several when it is too long, or as a skip when blank."""
    text = content.replace("\x00", "")
    if ";base64," in text:
        text = _INLINED.sub(r"[\1]", text)
    if not text.strip():
        return [Skip(Reason.EMPTY, key)]
    pieces = [text[i : i + LONGEST_CONTENT] for i in range(0, len(text), LONGEST_CONTENT)]
    try:
        values = _fitted(fields)
        if len(pieces) > 1:
            values["metadata"] |= {"pieces": len(pieces)}
        return [
            kind(key=key if number == 1 else f"{key}#{number}", content=piece, **values)
            for number, piece in enumerate(pieces, 1)
        ]
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        return [Skip(Reason.BAD_VALUE, key, f"{'.'.join(map(str, first['loc']))} {first['msg']}")]


def _fitted(fields: dict[str, Any]) -> dict[str, Any]:
    fitted: dict[str, Any] = {}
    for name, value in fields.items():
        if name == "metadata":
            fitted[name] = _small(value)
        elif isinstance(value, str):
            short = value.replace("\x00", "")
            short = short[:LONGEST_TITLE] if name.endswith("title") else bounded(short)
            fitted[name] = short or None
        else:
            fitted[name] = value
    return fitted


def _small(metadata: dict[str, Any]) -> dict[str, Any]:
    """Return what JSON and recall's limit allow; the largest facts go first."""
    facts = {name: value for name, value in metadata.items() if value not in (None, "", [], {})}
    if all(
        value is True or (isinstance(value, str) and len(value) < 256) for value in facts.values()
    ):
        return facts  # the usual case, at a tenth of the cost
    plain: dict[str, Any] = json.loads(
        json.dumps(facts, default=str, ensure_ascii=False), parse_constant=lambda _: None
    )
    while len(json.dumps(plain, ensure_ascii=False).encode("utf-8", "replace")) > (
        LARGEST_METADATA - 64
    ):
        del plain[max(plain, key=lambda name: len(json.dumps(plain[name], ensure_ascii=False)))]
        plain["cut"] = True
    return plain
