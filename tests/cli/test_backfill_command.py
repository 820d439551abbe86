"""`recall backfill` as a command: killed, tried out, refused."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import pytest
from histories import lines_of, stored
from typer.testing import CliRunner

from recall.cli import app
from recall.memory import keys
from recall.sources.opening import open_source
from recall.sync.backfill import backfill

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import psycopg

    from recall.database.caller import Caller
    from recall.database.units import Database

pytestmark = pytest.mark.anyio


@pytest.fixture
def lines(tmp_path: Path) -> Path:
    return lines_of(tmp_path / "history.jsonl")


SLOW = """
import sys, time
from recall.sources.systems.jsonl import json_lines
steps = json_lines.JsonLines._steps
def slowly(self, after):
    for number, step in enumerate(steps(self, after)):
        if number % 10 == 0:
            time.sleep(0.05)
        yield step
json_lines.JsonLines._steps = slowly
from recall.sync import ahead
ahead.BATCH_ITEMS = 10
from recall.cli import app
app()
"""


def kill_at(
    wanted: int, command: list[str], environment: dict[str, str], owner: psycopg.Connection[Any]
) -> None:
    """Run a command and kill it when so many memories are stored."""
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)
    while owner.execute("select count(*) from memory").fetchall()[0][0] < wanted:
        assert process.poll() is None
        time.sleep(0.02)
    process.kill()
    process.wait()


def finish(command: list[str], environment: dict[str, str]) -> str:
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    return done.stdout


def insert(file: Path, places: Sequence[int], line: str) -> None:
    rows = file.read_text().splitlines()
    for place in places:
        rows.insert(place, line)
    file.write_text("\n".join(rows) + "\n")


async def test_the_command_killed_at_any_time_ends_as_if_undisturbed(
    database: Database,
    caller: Caller,
    database_url: str,
    owner: psycopg.Connection[Any],
    lines: Path,
    home: Path,
) -> None:
    insert(lines, (250, 170, 90, 20), "not json either")
    rejects = lines.parent / "rejects.jsonl"
    environment = os.environ | {"DATABASE_URL": database_url, "RECALL_HOME": str(home)}
    command = [sys.executable, "-c", SLOW, "backfill", "jsonl", str(lines), "--no-index"]
    command += ["--skipped", str(rejects)]
    for wanted in (60, 180):
        kill_at(wanted, command, environment, owner)
    said = finish(command, environment)
    assert "Going on behind" in said
    assert "306 rows = 301 stored + 0 already there + 5 skipped (5 not JSON)" in said
    assert stat.S_IMODE(rejects.stat().st_mode) == 0o600, "rows of somebody's history"
    with rejects.open() as file:
        assert len(list(file)) == 5, "each bad row once"
    undisturbed = await keys.caller_of(database, "undisturbed")
    await backfill(database, undisturbed, open_source(str(lines), "jsonl"))
    assert stored(owner, caller) == stored(owner, undisturbed)


def test_a_trial_reads_everything_and_needs_no_database(
    lines: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://nobody@127.0.0.1:1/none")
    monkeypatch.setenv("COLUMNS", "200")
    result = CliRunner().invoke(app, ["backfill", str(lines), "--dry-run"])
    assert "It is read as jsonl." in result.stdout
    assert (
        "302 rows = 300 messages in 5 sessions + 1 notes + 1 skipped (1 not JSON); "
        "nothing was stored" in result.stdout
    )


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--option", "assume_tz=Nowhere/Else"), "is no time zone"),
        (("--option", "nope=1"), "has no option nope; it takes assume_tz"),
        (("--option", "nope"), "is not NAME=VALUE"),
        (("--since", "soon"), "is no time"),
        (("--strict",), "not JSON"),
    ],
)
def test_what_cannot_be_done_is_said(
    lines: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], said: str
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    result = CliRunner().invoke(app, ["backfill", "jsonl", str(lines), "--dry-run", *arguments])
    assert result.exit_code and said in result.output
    assert "Traceback" not in result.output
