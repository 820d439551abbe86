"""What people paste where a URL belongs: in quotes, behind `psql` or `export`, over two lines."""

from __future__ import annotations

import re

#: What a chat or a word processor adds without showing it.
_INVISIBLE = dict.fromkeys([0x200B, 0x200C, 0x200D, 0x2060, 0xFEFF])
_BREAK = re.compile(r"\s*\\?[\r\n]+\s*")
#: Quotes that open, and what closes each; the curly ones are a word processor's.
_QUOTES = {
    '"': '"',
    "'": "'",
    "`": "`",
    "<": ">",
    "\u201c": "\u201d",
    "\u201e": "\u201c",
    "\u2018": "\u2019",
}
#: What stands before a URL: `psql`, `-d`, `export`, and `NAME=` or `url:` of a configuration.
_BEFORE = re.compile(
    r"(?:(?:\$|export|set|setx|env|psql|pg_dump|-d|--dbname)[\s=]+"
    r"|(?:\$env:)?(?:[A-Z][A-Z0-9_]*|\w*(?:url|uri|dsn|string)\w*)\s*[=:]\s*)*"
)
_URL = re.compile(r"(?:jdbc:)?[A-Za-z][\w+.-]*://")


def unwrapped(text: str) -> str:
    """Return a URL, or what else stands there, without what was pasted around it.

    >>> unwrapped("export DATABASE_URL='postgresql://u@h/db'")
    'postgresql://u@h/db'
    """
    text = _BREAK.sub(" ", text.translate(_INVISIBLE).strip())
    while not _URL.match(text):
        before = _BEFORE.match(text)
        rest = text[before.end() if before else 0 :]
        closing = _QUOTES.get(rest[:1])
        if closing is not None:
            text = _inside(rest, closing)
        elif rest != text and _URL.match(rest):
            text = rest.split(None, 1)[0]
        else:
            break
    return text.rstrip("; ") if " " not in text else text


def _inside(text: str, closing: str) -> str:
    """Return what the quote at the start of `text` holds: up to where it is closed before space."""
    end = re.search(re.escape(closing) + r"(?=$|[\s;,)])", text[1:])
    return text[1 : end.start() + 1 if end else len(text)].strip()
