"""Faults, classified once: whether trying again can help, and what must change first if not.

psycopg's errors enter at `recall/database/units.py` alone, and leave it as errors of
`recall/contract/errors.py`. They are classified by type and SQLSTATE, never by text: text differs
by TLS, version, pooler and language.
"""

from __future__ import annotations

from enum import Enum

import psycopg

from recall.contract.errors import (
    Broken,
    Forbidden,
    Invalid,
    NotFound,
    RecallError,
    Unauthorized,
    Unavailable,
)


class Fault(Enum):
    """Whose fault a failure is, which says what to do about it."""

    NOW = "try again now"  # the connection or the transaction is gone, nothing else
    LATER = "try again later"  # the server is away, read-only, full, or busy
    INPUT = "this input is wrong"
    MEMORY = "this memory is the cause"
    SYSTEM = "this system is the cause"


#: The server ended the session: idle_in_transaction_session_timeout, transaction_timeout,
#: idle_session_timeout; admin_shutdown, crash_shutdown, cannot_connect_now, as when it is suspended
#: or restarted. Class 08, connection_exception, belongs to these.
_LOST = frozenset({"25P03", "25P04", "57P05", "57P01", "57P02", "57P03"})
#: The transaction is gone and the connection is fine: serialization_failure, deadlock_detected, and
#: foreign_key_violation, when a row's target was erased between two statements of a unit.
_COLLIDED = frozenset({"40001", "40P01", "23503"})
#: read_only_sql_transaction (a standby that is being promoted, a guard against a full disk),
#: object_in_use, lock_not_available.
_LATER = frozenset({"25006", "55006", "55P03"})
#: insufficient_resources, operator_intervention, system_error.
_LATER_CLASSES = frozenset({"53", "57", "58"})
#: data_exception, check_violation and its kin, program_limit_exceeded.
_INPUT_CLASSES = frozenset({"22", "23", "54"})


def fault_of(error: BaseException) -> Fault:
    """Return whose fault `error` is; what is not known is the system's."""
    if isinstance(error, psycopg.Error):
        return _of_postgres(error)
    if isinstance(error, Unavailable):
        return Fault.LATER
    if isinstance(error, Invalid | NotFound | Unauthorized | Forbidden):
        return Fault.INPUT
    return Fault.SYSTEM


def _of_postgres(error: psycopg.Error) -> Fault:
    state = error.sqlstate
    if state is None:  # from the client library: the network, or a value that it cannot read
        if isinstance(error, psycopg.OperationalError):
            return Fault.NOW
        return Fault.INPUT if isinstance(error, psycopg.DataError) else Fault.SYSTEM
    if state.startswith("08") or state in _LOST or state in _COLLIDED:
        return Fault.NOW
    if state in _LATER or state[:2] in _LATER_CLASSES:
        return Fault.LATER
    return Fault.INPUT if state[:2] in _INPUT_CLASSES else Fault.SYSTEM


def connection_lost(error: psycopg.Error) -> bool:
    """Return whether the connection is gone: how its last transaction ended is not known."""
    state = error.sqlstate
    if state is None:
        return isinstance(error, psycopg.OperationalError)
    return state.startswith("08") or state in _LOST


def translated(error: psycopg.Error) -> RecallError:
    """Return `error` as one of recall's own, with a sentence for a person."""
    said = " ".join((error.diag.message_primary or str(error)).split()).rstrip(".")
    said = said or type(error).__name__
    fault = _of_postgres(error)
    if fault in {Fault.NOW, Fault.LATER}:
        return Unavailable(f"The database could not answer: {said}.")
    if fault is Fault.INPUT:
        return Invalid(f"The database refuses this value: {said}.")
    return Broken(
        f"The database and this recall do not fit each other: {said}. Nothing was changed; "
        "`recall doctor` says more."
    )
