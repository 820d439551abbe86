"""Units of work on a server that is cut off, silent, asleep or busy: done once, ended in time."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from recall.contract.errors import Broken, Invalid, Misconfigured, NotFound, Overloaded, Unavailable
from recall.contract.values import Message, Note
from recall.database.caller import OWNER
from recall.database.units import Database
from recall.indexing import queue
from recall.memory import keys, memories
from recall.memory.forget import forget_memory, forget_session
from recall.runtime.status import ready

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from conftest import Sleeper

    from recall.base.settings import Settings
    from recall.chaos.front import Front
    from recall.database.caller import Caller
    from recall.database.connections import Connection

pytestmark = pytest.mark.anyio

#: The answer to COMMIT is lost; the COMMIT itself is; two in a row are.
LOSSES = pytest.mark.parametrize(
    ("times", "reached"), [(1, True), (1, False), (2, True), (2, False)], ids=str
)


@pytest.fixture
def database_url(sleeping_url: str) -> str:
    return sleeping_url


@pytest.fixture
def settings(sleeping_settings: Settings) -> Settings:
    return sleeping_settings


@pytest.fixture
def front(sleeper: Sleeper) -> Front:
    """Where the traffic of the database under test goes through."""
    return sleeper.neon.pooled


def said(text: str, **more: Any) -> Message:
    return Message(session_id="s", role="user", content=text, **more)


def count(owner: psycopg.Connection[Any], table: str = "memory") -> int:
    row = owner.execute(f"select count(*) from {table}").fetchone()
    assert row is not None
    return int(row[0])


class Counted:
    """Work that counts how often it is called."""

    def __init__(self, statement: Any = "select 1") -> None:
        self.calls = 0
        self._statement = statement

    async def __call__(self, connection: Connection) -> Any:
        self.calls += 1
        return await (await connection.execute(self._statement)).fetchone()


async def until(fact: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not fact():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.02)


# -- once --------------------------------------------------------------------------------------


@LOSSES
async def test_a_message_without_a_key_is_stored_once(
    database: Database, caller: Caller, front: Front, owner: Any, times: int, reached: bool
) -> None:
    front.lose(times, reached=reached)
    stored = await memories.save_messages(database, caller, [said("Pay the invoice once.")])
    assert front.losses_left == 0
    assert owner.execute("select id from memory").fetchall() == [(stored.ids[0],)]
    assert (stored.accepted, stored.duplicates) == (1, 0)
    assert count(owner, "job") == 1


@LOSSES
async def test_what_was_erased_is_not_answered_as_missing(
    database: Database, caller: Caller, front: Front, owner: Any, times: int, reached: bool
) -> None:
    stored = await memories.save_messages(database, caller, [said("one"), said("two")])
    front.lose(times, reached=reached)
    await forget_memory(database, caller, "message", stored.ids[0])
    assert count(owner) == 1
    front.lose(times, reached=reached)
    assert await forget_session(database, caller, "s") == 1
    assert front.losses_left == 0
    assert count(owner) == 0
    with pytest.raises(NotFound):
        await forget_memory(database, caller, "message", stored.ids[0])


@LOSSES
async def test_a_note_is_replaced_once(
    database: Database, caller: Caller, front: Front, owner: Any, times: int, reached: bool
) -> None:
    stored = await memories.save_notes(database, caller, [Note(content="before")])
    front.lose(times, reached=reached)
    await memories.replace_note(database, caller, stored.ids[0], Note(content="after"))
    assert owner.execute("select content from memory").fetchall() == [("after",)]


@LOSSES
async def test_the_key_that_is_shown_is_the_key_that_counts(
    database: Database, caller: Caller, front: Front, owner: Any, times: int, reached: bool
) -> None:
    front.lose(times, reached=reached)
    key = await keys.create_key(database, "default", "laptop")
    assert front.losses_left == 0
    assert count(owner, "api_key") == 1
    assert await keys.caller_by_key(database, keys.key_digest(key)) == caller


@LOSSES
async def test_giving_back_a_job_counts_once(
    database: Database, caller: Caller, front: Front, owner: Any, times: int, reached: bool
) -> None:
    await memories.save_messages(database, caller, [said("one")])
    claims = await queue.claim_jobs(database, 5, 60.0)
    front.lose(times, reached=reached)
    await queue.release_claims(database, claims)
    assert front.losses_left == 0
    assert owner.execute("select attempts, alone from job").fetchall() == [(0, 0)]
    front.lose(times, reached=reached)
    claims = await queue.claim_jobs(database, 5, 60.0)
    assert len(claims) == 1
    front.lose(times, reached=reached)
    await queue.fail_jobs(database, {claims[0]: "it does not fit"})
    assert owner.execute("select attempts from job").fetchall() == [(1,)]


async def test_a_commit_that_arrives_behind_the_end_of_its_connection_counts_once(
    database: Database, caller: Caller, front: Front, owner: Any
) -> None:
    front.lose(reached=False, late=0.4)
    stored = await memories.save_messages(database, caller, [said("held up")])
    await asyncio.sleep(0.6)
    assert owner.execute("select id from memory").fetchall() == [(stored.ids[0],)]


async def test_a_unit_whose_commit_fell_silent_says_that_it_is_not_known(
    database: Database, caller: Caller, front: Front, owner: Any
) -> None:
    front.lose(silent=True)
    with pytest.raises(Unavailable, match="whether this was done is not known"):
        await memories.save_messages(database, caller, [said("in doubt", key="k")])
    assert count(owner) == 1
    again = await memories.save_messages(database, caller, [said("in doubt", key="k")])
    assert again.duplicates == 1
    assert count(owner) == 1


async def test_a_unit_that_was_given_up_in_silence_takes_no_effect_later(
    database: Database, caller: Caller, front: Front, owner: Any
) -> None:
    stored = await memories.save_notes(database, caller, [Note(content="first")])
    front.mute()
    with pytest.raises(Unavailable, match="Nothing was changed"):
        await memories.replace_note(database, caller, stored.ids[0], Note(content="given up"))
    front.heal()
    await memories.replace_note(database, caller, stored.ids[0], Note(content="newer"))
    await asyncio.sleep(0.5)
    assert owner.execute("select content from memory").fetchall() == [("newer",)]


# -- in time -----------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", ["mute", "deafen"])
async def test_units_end_at_their_deadline_whatever_the_network_swallows(
    database: Database, caller: Caller, front: Front, fault: str
) -> None:
    await ready(database)
    getattr(front, fault)()
    began = time.monotonic()
    units = [ready(database) for _ in range(8)]
    units += [_save(database, caller, f"number {n}") for n in range(8)]
    ended = await asyncio.gather(*units, return_exceptions=True)
    took = time.monotonic() - began
    assert all(isinstance(each, Unavailable) for each in ended), ended
    assert took < 1.5 + 5.0  # the deadline, and patience for a busy machine
    front.heal()
    began = time.monotonic()
    await asyncio.gather(*(ready(database) for _ in range(8)))
    assert time.monotonic() - began < 5.0


async def _save(database: Database, caller: Caller, text: str) -> None:
    await memories.save_messages(database, caller, [said(text)])


async def test_connections_that_vanished_are_not_kept(
    database: Database, caller: Caller, front: Front
) -> None:
    await asyncio.gather(*(ready(database) for _ in range(8)))
    front.vanish()
    ended = await asyncio.gather(*(ready(database) for _ in range(16)), return_exceptions=True)
    assert all(each is None or isinstance(each, Unavailable) for each in ended), ended
    began = time.monotonic()
    await asyncio.gather(*(ready(database) for _ in range(16)))
    assert time.monotonic() - began < 5.0
    await until(lambda: front.lines <= 8)


async def test_a_slow_statement_is_ended_and_not_tried_again(database: Database) -> None:
    slow = Counted("select pg_sleep(30)")
    with pytest.raises(Unavailable):
        await database.as_owner(slow, within=0.3)
    assert slow.calls == 1


async def test_a_caller_that_leaves_leaves_nothing_behind(
    database: Database, owner: psycopg.Connection[Any]
) -> None:
    statement = "insert into tenant (name) values ('left'), (pg_sleep(30)::text)"
    task = asyncio.create_task(database.as_owner(Counted(statement)))
    running = "select count(*) from pg_stat_activity where query like 'insert%left%'"
    await until(lambda: owner.execute(running).fetchall() == [(1,)])
    task.cancel()
    began = time.monotonic()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert time.monotonic() - began < 1.0
    await ready(database)
    await until(lambda: owner.execute(running).fetchall() == [(0,)])
    assert owner.execute("select from tenant where name = 'left'").fetchall() == []


async def test_more_units_than_may_wait_are_told_so(settings: Settings) -> None:
    own = settings.model_copy(update={"pool_size": 1})
    database = Database(own.pooled_url, own)
    await database.open()
    try:
        ended = await asyncio.gather(
            *(database.read(OWNER, Counted("select pg_sleep(0.05)")) for _ in range(80)),
            return_exceptions=True,
        )
    finally:
        await database.close()
    overloaded = [each for each in ended if isinstance(each, Overloaded)]
    assert overloaded
    assert "try again" in str(overloaded[0])


# -- asleep, restarted, refusing ---------------------------------------------------------------


async def test_units_after_a_suspend_wake_the_server_and_are_all_done(
    database: Database, caller: Caller, sleeper: Sleeper, owner: Any
) -> None:
    await asyncio.gather(*(ready(database) for _ in range(8)))
    owner.close()
    sleeper.neon.suspend()
    works = [Counted() for _ in range(8)]
    await asyncio.gather(*(database.as_caller(caller, work) for work in works))
    assert [work.calls for work in works] == [1] * 8


async def test_a_unit_that_is_cut_off_in_the_middle_is_run_again(
    database: Database, caller: Caller, sleeper: Sleeper, database_url: str
) -> None:
    entered = asyncio.Event()
    calls = 0

    async def work(connection: Connection) -> int:
        nonlocal calls
        calls += 1
        await (await connection.execute("select 1")).fetchone()
        if calls == 1:
            entered.set()
            await asyncio.sleep(0.2)
        stored = await memories.store_messages(connection, [said("once")], 0)
        return stored.ids[0]

    task = asyncio.create_task(database.as_caller(caller, work, within=20))
    await entered.wait()
    await asyncio.to_thread(sleeper.neon.suspend)
    id = await task
    assert calls == 2
    with psycopg.connect(database_url, options="-c search_path=recall") as connection:
        assert connection.execute("select id from memory").fetchall() == [(id,)]


async def test_a_server_that_refuses_for_a_moment_is_waited_for(
    database: Database, front: Front
) -> None:
    await ready(database)
    front.refuse()
    front.cut()
    task = asyncio.create_task(ready(database))
    await asyncio.sleep(0.5)
    front.heal()
    await task


async def test_a_server_that_stays_away_is_said_to_be_away(
    database: Database, front: Front
) -> None:
    front.refuse()
    front.cut()
    with pytest.raises(Unavailable) as told:
        await ready(database)
    assert str(told.value).endswith(".")


# -- whose fault -------------------------------------------------------------------------------


async def test_units_that_block_each_other_are_both_done(
    database: Database, caller: Caller, owner: Any
) -> None:
    both_in = asyncio.Barrier(2)

    def locks(first: str, second: str) -> Callable[[Connection], Awaitable[None]]:
        met = False

        async def work(connection: Connection) -> None:
            nonlocal met
            take = "update tenant set name = name where name = %s returning id"
            await (await connection.execute(take, [first])).fetchone()
            if not met:
                met = True
                await both_in.wait()
            await (await connection.execute(take, [second])).fetchone()

        return work

    await keys.caller_of(database, "other")
    await asyncio.gather(
        database.as_owner(locks("default", "other"), within=20),
        database.as_owner(locks("other", "default"), within=20),
    )


@pytest.mark.parametrize(
    ("statement", "error"),
    [
        ("select 1/0", Invalid),
        ("select 'x'::integer", Invalid),
        ("insert into job (memory_id, tenant_id) values (null, 1)", Invalid),
        ("select from no_such_table", Broken),
        ("select no_such_function()", Broken),
        ("select", None),
    ],
)
async def test_what_trying_again_cannot_mend_is_tried_once(
    database: Database, statement: str, error: type[Exception] | None
) -> None:
    work = Counted(statement)
    if error:
        with pytest.raises(error):
            await database.as_owner(work)
    else:
        await database.as_owner(work)
    assert work.calls == 1
    await ready(database)


async def test_a_server_that_only_reads_is_unavailable_for_writing(
    database: Database, caller: Caller, front: Front, owner: Any, database_url: str
) -> None:
    name = owner.execute("select current_database()").fetchone()[0]
    owner.execute(f"alter database {name} set default_transaction_read_only = on")
    front.cut()
    await asyncio.sleep(0.1)
    with pytest.raises(Unavailable, match="read-only"):
        # The pooler may still hold a connection from before.
        for n in range(20):
            await memories.save_messages(database, caller, [said(f"number {n}")])
            owner.execute(
                "select pg_terminate_backend(pid) from pg_stat_activity"
                " where datname = current_database() and pid <> pg_backend_pid()"
            )
    await ready(database)


@pytest.mark.parametrize("url", ["postgresql://u:open-sesame@127.0.0.1:1/none"])
async def test_a_database_that_is_not_there_is_said_at_the_start(
    settings: Settings, url: str
) -> None:
    with pytest.raises(Misconfigured) as told:
        await Database(url, settings).open()
    assert "open-sesame" not in str(told.value)
