"""How far a source was read, as kept by one version of recall and read by another."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from histories import History, Torn, reconciles

from recall.sync import ahead
from recall.sync.backfill import Backfill, Terms, backfill
from recall.sync.entry import Progress, entry_of
from recall.sync.followed import Followed
from recall.sync.tally import Tally

if TYPE_CHECKING:
    import psycopg

    from recall.database.caller import Caller
    from recall.database.units import Database

TALLY = Tally(stored=3, changed=1, known=2, skipped={"empty": 4}, memories=5)
UNDER_WAY = Progress([1, "a"], TALLY, {"user": None, "since": None, "limit": None})
AT_THE_END = Progress({"messages": [7]})


@pytest.mark.parametrize("progress", [UNDER_WAY, AT_THE_END, Progress(None)])
def test_progress_is_read_as_it_was_kept(progress: Progress) -> None:
    kept = json.loads(progress.as_text())
    assert kept["version"] == 1
    assert Progress.of(kept) == progress


@pytest.mark.parametrize("progress", [UNDER_WAY, AT_THE_END])
def test_what_was_kept_before_records_had_a_version_is_read(progress: Progress) -> None:
    kept = json.loads(progress.as_text())
    del kept["version"]
    assert Progress.of(kept) == progress


def test_fields_of_a_newer_version_are_passed_over() -> None:
    kept = json.loads(UNDER_WAY.as_text())
    kept |= {"version": 7, "shard": 2}
    kept["tally"] |= {"late": 1}
    assert Progress.of(kept) == UNDER_WAY
    registered = json.loads(Followed("a.db", "openzess", {"assume_tz": "UTC"}).as_text())
    again = Followed.of(registered | {"version": 7, "backoff": 2})
    assert again == Followed("a.db", "openzess", {"assume_tz": "UTC"})


@pytest.mark.parametrize("kept", [None, {}, {"version": 7, "cursor": "x"}])
def test_without_a_position_that_is_known_reading_starts_over(kept: Any) -> None:
    assert Progress.of(kept) is None


@pytest.mark.anyio
async def test_a_backfill_goes_on_behind_what_a_newer_version_kept(
    database: Database,
    caller: Caller,
    owner: psycopg.Connection[Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(ahead, "BATCH_ITEMS", 10)
    with pytest.raises(Torn):
        await backfill(database, caller, History(57, breaks_at=40))
    newer = {"version": 7, "shard": 2}
    owner.execute("update source set position = position || %s::jsonb", [json.dumps(newer)])
    owner.execute("update source set position = jsonb_set(position, '{tally,late}', '1')")
    run = await Backfill.begin(database, caller, History(57), Terms())
    assert run.tally.read > 0
    assert reconciles(await run.run(), 57)
    assert (await entry_of(database, caller, History(57))).progress == Progress(57)
