"""Everything that can go wrong, as a small tree; each message is one sentence for a person.

RecallError
├── Invalid            the caller's input breaks a stated limit; nothing was changed
├── Unauthorized       no key, or a key that opens nothing
├── Forbidden          the caller lacks the right to do this; nothing was changed
├── NotFound           what was named does not exist (in this tenant)
├── Unavailable        the database cannot be reached now; asking again may work
│   ├── Overloaded     more requests wait than the service will queue
│   └── NotReady       the service answers, and something that it needs does not run
├── Broken             the system itself is at fault: asking again will not help before it is mended
├── Misconfigured      a setting makes a start pointless or unsafe
│   ├── SchemaRefused  the database's schema and this code do not fit
│   └── ModelMismatch  the model's vectors do not belong to the active profile
├── ModelMissing       the embedding model cannot be found
├── ModelCorrupt       the embedding model's files are not the published ones
└── SourceUnreadable   a backfill was pointed at something it cannot read
"""

from __future__ import annotations


class RecallError(Exception):
    """Any failure that recall explains in a sentence."""


class Invalid(RecallError):
    """The caller's input breaks a stated limit; nothing was changed."""

    def __init__(self, message: str, field: str | None = None) -> None:
        super().__init__(message)
        self.field = field


class Unauthorized(RecallError):
    """No key was given, or the key opens nothing."""


class Forbidden(RecallError):
    """The caller lacks the right to do this; nothing was changed."""


class NotFound(RecallError):
    """What was named does not exist in this tenant."""


class Unavailable(RecallError):
    """The database cannot be reached now; what was acknowledged is kept.

    `again` are the seconds after which asking again may work.
    """

    def __init__(self, message: str, again: float = 1.0) -> None:
        super().__init__(message)
        self.again = again


class Overloaded(Unavailable):
    """More requests wait for a connection than the service will queue."""


class NotReady(Unavailable):
    """The service answers, and something that it needs does not run."""


class Broken(RecallError):
    """The system itself is at fault: asking again will not help before it is mended."""


class Misconfigured(RecallError):
    """A setting makes a start pointless or unsafe."""


class SchemaRefused(Misconfigured):
    """The database's schema and this code do not fit each other."""


class ModelMismatch(Misconfigured):
    """The model's vectors do not belong to the active profile."""


class ModelMissing(RecallError):
    """The embedding model cannot be found."""


class ModelCorrupt(RecallError):
    """The embedding model's files are not the published ones."""


class SourceUnreadable(RecallError):
    """A backfill was pointed at something that it cannot read."""


#: The HTTP status of every error and its type on the wire. Callers rely on the types: a type stays
#: when its class is renamed.
WIRE: dict[type[RecallError], tuple[int, str]] = {
    RecallError: (500, "recall_error"),
    Invalid: (422, "invalid"),
    Unauthorized: (401, "unauthorized"),
    Forbidden: (403, "forbidden"),
    NotFound: (404, "not_found"),
    Unavailable: (503, "unavailable"),
    Overloaded: (503, "overloaded"),
    NotReady: (503, "not_ready"),
    Broken: (500, "broken"),
    Misconfigured: (500, "misconfigured"),
    SchemaRefused: (500, "schema_refused"),
    ModelMismatch: (500, "model_mismatch"),
    ModelMissing: (500, "model_missing"),
    ModelCorrupt: (500, "model_corrupt"),
    SourceUnreadable: (500, "source_unreadable"),
}


def on_the_wire(error: RecallError) -> tuple[int, str]:
    """Return an error's HTTP status and its type on the wire, those of its base without a row."""
    return next(WIRE[kind] for kind in type(error).__mro__ if kind in WIRE)
