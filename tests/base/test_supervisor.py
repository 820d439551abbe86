"""The supervisor: what runs for long is watched, started again, and heard of in words."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

import pytest

from recall.base import supervisor as module
from recall.base.supervisor import Duty, supervised
from recall.contract.errors import Unavailable

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.anyio


async def soon(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not true():  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def test_a_duty_that_ends_by_an_error_is_started_again_and_heard_of(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(module, "FIRST_PAUSE", 0.2)
    runs = 0

    async def fragile(duty: Duty) -> None:
        nonlocal runs
        runs += 1
        if runs < 3:
            raise ValueError("a bug")
        duty.rests()
        await asyncio.sleep(60)

    async with supervised() as supervisor:
        supervisor.start("Fragile work", fragile, needed=True)
        await soon(lambda: runs == 1)
        await asyncio.sleep(0.05)
        assert supervisor.complaints(needed=True) == ["Fragile work does not run: a bug"]
        assert supervisor.complaints(needed=False) == []
        await soon(lambda: runs == 3)
        await asyncio.sleep(0)
        assert supervisor.complaints(needed=True) == []
        assert [duty.restarts for duty in supervisor] == [2]
    assert "Traceback" in caplog.text and "well again" in caplog.text


async def test_a_duty_says_why_it_does_not_do_its_work_and_that_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    duty = Duty("Indexing", needed=True)
    with caplog.at_level(logging.WARNING, "recall.base.supervisor"):
        for _ in range(3):
            duty.works()
            duty.fails(Unavailable("The server is read-only."))
        assert duty.complaint() == "Indexing does not run: The server is read-only."
        duty.works()
        assert duty.complaint(), "work that was begun is not work that was done"
        duty.rests()
    assert duty.complaint() is None
    assert len(caplog.records) == 2


async def test_a_duty_that_gives_no_sign_of_life_is_said_to_be_stuck(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "SILENCE", 0.05)
    duty = Duty("Indexing", needed=True)
    duty.works()
    assert duty.complaint() is None
    await asyncio.sleep(0.1)
    assert "no sign of life" in (duty.complaint() or "")
    duty.rests()
    await asyncio.sleep(0.1)
    assert duty.complaint() is None, "who has nothing to do may be silent for ever"


async def test_a_duty_is_asked_to_end_then_made_to(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LEAVE", 0.1)
    ended: list[str] = []
    asked = asyncio.Event()

    async def polite(duty: Duty) -> None:
        await asked.wait()
        ended.append("polite")

    async def deaf(duty: Duty) -> None:
        try:
            await asyncio.sleep(60)
        finally:
            ended.append("deaf")

    async with supervised() as supervisor:
        supervisor.start("Polite work", polite, stop=asked.set)
        supervisor.start("Deaf work", deaf, stop=lambda: None)
        await asyncio.sleep(0.01)
    assert ended == ["polite", "deaf"]
