"""PraisonAI's store in MySQL or MariaDB; TEST_MYSQL_URL names a server to make databases on."""

from __future__ import annotations

import json

import pytest
from samples import mysql
from sources_reading import read

from recall.contract.errors import SourceUnreadable
from recall.sources.opening import open_source
from recall.sources.tables import pages

pytest.importorskip("pymysql", reason="PyMySQL is the extra recall[mysql]")


def test_pages_of_mysql_leave_nothing_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pages, "FIRST_PAGE", 7)
    monkeypatch.setattr(pages, "LARGEST_PAGE", 11)
    rows = [
        (f"m{i}", "s", "user", f"100% 😀 {i}", None, None, json.dumps({}), None if i % 5 else i / 3)
        for i in range(60)
    ]
    with mysql({"praison_sessions": [], "praison_messages": rows}) as (url, _):
        reading = read(open_source(url), positions=60)
        assert sorted(reading.texts) == sorted(row[3] for row in rows)
        query = "select id as `key`, content from praison_messages where content like '100% %'"
        assert len(read(open_source(url, "sql", query=query)).memories) == 60


def test_a_server_that_is_not_there_is_said() -> None:
    with pytest.raises(SourceUnreadable, match=r"mysql://127.0.0.1:1/x cannot be read"):
        list(open_source("mysql://ann:secret@127.0.0.1:1/x", "praisonai").read())
