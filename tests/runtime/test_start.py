"""Starts that cannot work: each is refused at once, in one sentence, by every command."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from conftest import ENGINE, Databases, Straight, name_of
from typer.testing import CliRunner

from recall.base import connecting
from recall.cli import app
from recall.cli.frame import one_line
from recall.contract.errors import Misconfigured, ModelCorrupt, ModelMissing, NotFound
from recall.embedding import open_embedder
from recall.embedding.derived import Store
from recall.runtime import listening
from recall.schema import ground, preflight

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from typer.testing import Result

    from recall.embedded import keeper
    from recall.embedding import Embedder

PATIENCE = 60.0  # seconds
READING = (("status",), ("search", "x"), ("doctor",), ("keys", "list"), ("migrate", "--status"))
WRITING = (
    ("serve",),
    ("worker", "--once"),
    ("migrate",),
    ("keys", "create", "x"),
    ("language", "x"),
)


@pytest.fixture(scope="session")
def databases(postgres: keeper.Server) -> Databases:
    """On the server that is ours: roles and databases of every kind are made there."""
    if os.environ.get("TEST_DATABASE_URL"):
        pytest.skip("the server is somebody else's")
    return Databases(Straight(postgres), postgres.url("postgres"))


@pytest.fixture(autouse=True)
def environment(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No model is opened: whoever comes as far was not refused."""

    def opened(*_: object) -> None:
        raise AssertionError("a model was loaded")

    monkeypatch.setenv("RECALL_HOME", str(home))
    monkeypatch.setenv("RECALL_ENGINE", ENGINE)
    monkeypatch.setenv("RECALL_PORT", "0")
    monkeypatch.setenv("COLUMNS", "500")
    monkeypatch.setattr("recall.embedding.open_embedder", opened)


@pytest.fixture
def model(embedder: Embedder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("recall.embedding.open_embedder", lambda *_: embedder)


def recall(*arguments: str, url: str | None = None) -> Result:
    env = {} if url is None else {"DATABASE_URL": url}
    return CliRunner().invoke(app, list(arguments), catch_exceptions=False, env=env)


def refused(*arguments: str, url: str | None = None) -> str:
    """Return the one sentence with which a command ends."""
    result = recall(*arguments, url=url)
    assert result.exit_code == 1, result.output
    assert result.stderr.startswith("recall: ") and result.stderr.count("\n") == 1, result.stderr
    return result.stderr.removeprefix("recall: ").strip()


def execute(url: str, *statements: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        for statement in statements:
            connection.execute(statement.encode())


@contextmanager
def role(url: str, options: str = "login", rights: tuple[str, ...] = ()) -> Iterator[str]:
    """Yield the URL of a role of its own, dropped with all that it made."""
    name = f"role_of_{name_of(url)}"
    execute(url, f"create role {name} {options}", *(right.format(name) for right in rights))
    try:
        yield url.replace("//postgres@", f"//{name}@")
    finally:
        execute(url, f"drop owned by {name} cascade", f"drop role {name}")


@contextmanager
def encoded(databases: Databases, encoding: str) -> Iterator[str]:
    """Yield the URL of a database in an encoding."""
    name = f"in_{encoding.lower()}"
    options = f"encoding '{encoding}' locale 'C' locale_provider libc template template0"
    execute(databases.maintenance, f"create database {name} {options}")
    url = databases.way.direct_url(name)
    yield url
    databases.drop(url)


def test_a_server_that_is_not_there_is_said_with_a_cure(empty_url: str, tmp_path: Path) -> None:
    inside = empty_url.partition("?")[2]
    cases = {
        "postgresql://u:hush@no-such-host.invalid/db": "check the host's name (DATABASE_URL)",
        "postgresql://u:hush@127.0.0.1:1/db": "start the server there",
        "postgresql://u:hush@a..b/db": "check the host's name",
        f"postgresql://u:hush@/db?host={tmp_path}": "start the server there",
        f"postgresql://postgres:hush@/nowhere?{inside}": "or correct its name",
        f"postgresql://ghost:hush@/postgres?{inside}": "or correct the user",
        f"{empty_url}&channel_binding=require": "take channel_binding=require out",
        "postgresql:///db?service=missing": "~/.pg_service.conf",
    }
    for url, cure in cases.items():
        for arguments in (("serve",), ("status",), ("migrate",), ("keys", "list")):
            said = refused(*arguments, url=url)
            assert "does not answer" in said and cure in said, said
            assert "hush" not in said


def test_what_others_say_gets_the_right_cure() -> None:
    """What this server does not say, in the words of those that do."""
    cases = {
        'FATAL:  password authentication failed for user "u"': "check the user and the password",
        "fe_sendauth: no password supplied": "check the user and the password",
        "FATAL:  sorry, too many clients already": "close others",
        "FATAL:  remaining connection slots are reserved for roles": "close others",
        "server does not support SSL, but SSL was required": "take sslmode out",
        "ERROR:  connection is insecure (try using `sslmode=require`)": "add sslmode=require",
        'no pg_hba.conf entry for host "::1", user "u", no encryption': "add sslmode",
        'no pg_hba.conf entry for host "::1", user "u", SSL encryption': "to pg_hba.conf",
        "SSL error: certificate verify failed": "sslrootcert",
        "FATAL:  the database system is starting up": "wait a moment",
        "FATAL:  unsupported startup parameter: options": "take options= out",
        "connection timeout expired": "any firewall",
        "FATAL:  Ein unbekannter Fehler": "check DATABASE_URL",
    }
    for words, cure in cases.items():
        error = psycopg.OperationalError(f"connection failed: {words}")
        said = str(connecting.failed(error, "postgresql://u:hush@h/d", "DATABASE_URL"))
        assert cure in said, said
        assert said.startswith("The database at h does not answer: ") and "hush" not in said


def test_a_server_that_takes_the_connection_and_says_nothing_is_given_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(connecting, "SECONDS", 2)
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        url = f"postgresql://u@127.0.0.1:{deaf.getsockname()[1]}/db"
        said = refused("serve", url=url)
    assert "does not answer" in said and "firewall" in said


def test_a_direct_url_that_leads_nowhere_is_name_of(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_DIRECT_URL", "postgresql://u@127.0.0.1:1/db")
    assert "(DATABASE_DIRECT_URL)" in refused("serve", url=database_url)
    monkeypatch.setenv("DATABASE_DIRECT_URL", database_url)
    said = refused("serve", url="postgresql://u@127.0.0.1:1/db")
    assert "(DATABASE_URL)" in said


@pytest.mark.parametrize("encoding", ["LATIN1", "SQL_ASCII"])
def test_another_encoding_is_refused(databases: Databases, encoding: str) -> None:
    with encoded(databases, encoding) as url:
        for arguments in (("serve",), ("status",), ("migrate",)):
            said = refused(*arguments, url=url)
            assert f"encoded in {encoding}" in said and "encoding 'UTF8'" in said


def test_a_schema_recall_of_somebody_else_is_left_alone(empty_url: str) -> None:
    execute(empty_url, "create schema recall", "create table recall.memory (x int)")
    for arguments in (*READING, *WRITING[:3]):
        said = refused(*arguments, url=empty_url)
        assert "not this recall's (it holds memory)" in said
    execute(empty_url, "drop table recall.memory")
    assert recall("migrate", url=empty_url).exit_code == 0, "an empty one is taken"


def test_a_role_that_may_not_make_roles_is_told_what_to_have_run(empty_url: str) -> None:
    execute(empty_url, "create extension vector")
    grant = f"grant create on database {name_of(empty_url)} to {{}}"
    with role(empty_url, "login", (grant,)) as url:
        said = refused("migrate", url=url)
        name = f"role_of_{name_of(empty_url)}"
        orders = f"`alter role {name} createrole; grant recall_service to {name}`"
        assert orders in said
        for order in orders.strip("`").split("; "):
            execute(empty_url, order)
        assert recall("migrate", url=url).exit_code == 0, "what is said to help helps"
        execute(empty_url, f"alter role {name} nocreaterole")
        assert recall("status", url=url).exit_code == 0


def test_a_role_that_may_make_nothing_is_told_what_to_have_run(empty_url: str) -> None:
    with role(empty_url) as url:
        assert "`grant create on database" in refused("serve", url=url)


def test_a_role_of_another_owner_is_told_whose_it_is(database_url: str) -> None:
    with role(database_url, "login createrole") as url:
        for arguments in (*READING, ("serve",)):
            assert "Schema recall belongs to postgres" in refused(*arguments, url=url)


@pytest.mark.usefixtures("model")
def test_where_nothing_may_be_written_readers_work_and_writers_say_so(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = name_of(database_url)
    execute(database_url, f"alter database {name} set default_transaction_read_only = on")
    for reading in READING:
        result = recall(*reading, url=database_url)
        assert result.exit_code == 0, (reading, result.output)
    for writing in WRITING:
        said = refused(*writing, url=database_url)
        assert "lets nothing be written" in said and "`recall search`" in said


def test_versions_are_read_whatever_is_behind_their_numbers() -> None:
    for version, numbers in {
        "0.8.0": (0, 8, 0),
        "0.8.0-dev": (0, 8, 0),
        "0.8.0.1": (0, 8, 0, 1),
        "0.10": (0, 10),
        "16.4 (Debian 16.4-1.pgdg120+2)": (16, 4),
        "17beta1": (17,),
        "18devel": (18,),
        "dev": (),
    }.items():
        assert ground.numbers(version) == numbers


def facts(**changed: Any) -> dict[str, Any]:
    """Return what a healthy server says of itself, but for what is changed."""
    healthy = {
        "version": "17.2 (Debian)",
        "number": 170002,
        "encoding": "UTF8",
        "database": "d",
        "standby": False,
        "read_only": False,
        "role": "u",
        "quoted_role": "u",
        "creates": True,
        "makes_roles": True,
        "has_service": False,
        "is_member": False,
        "has_schema": False,
        "owner": None,
        "quoted_owner": None,
        "is_owner": False,
        "has_ledger": False,
        "holds": None,
        "vector": None,
        "vector_available": True,
    }
    assert set(changed) <= set(healthy)
    return healthy | changed


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({}, None),
        ({"number": 130015, "version": "13.15"}, "This is Postgres 13.15, and recall needs 14"),
        ({"number": 140000, "version": "14devel"}, None),
        ({"vector": "0.8.0-dev"}, None),
        ({"vector": "0.7.4"}, "pgvector 0.7.4 is too old"),
        ({"vector": "0.10.0"}, None),
        ({"vector_available": False}, "has no pgvector"),
        ({"read_only": True, "standby": True}, "it is a standby"),
        ({"makes_roles": False}, "`alter role u createrole`"),
    ],
)
def test_what_a_server_says_of_itself_is_judged(changed: dict[str, Any], said: str | None) -> None:
    found = next(preflight.complaints(facts(**changed), writes=True), None)
    assert (found is None) if said is None else (found is not None and said in found)


def test_a_port_that_is_taken_is_said_before_anything_is_opened(database_url: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = str(other.getsockname()[1])
        for host in ("127.0.0.1", "localhost", "0.0.0.0"):
            said = refused("serve", "--host", host, "--port", port, url=database_url)
            assert f"Port {port} of {host} is taken" in said


@pytest.mark.parametrize(
    "host", ["no-such-host.invalid", "192.0.2.7", "a..b", "x" * 300, "300.1.1.1"]
)
def test_a_host_that_is_not_here_is_said(host: str, database_url: str) -> None:
    said = refused("serve", "--host", host, url=database_url)
    assert f"RECALL_HOST={host} is no address of this machine" in said


def test_without_keys_the_network_is_refused_before_a_model_is_loaded(database_url: str) -> None:
    said = refused("serve", "--host", "0.0.0.0", url=database_url)
    assert "would serve everybody without a key" in said


def test_all_addresses_of_a_host_share_a_port() -> None:
    with listening.bound("localhost", 0) as sockets:
        assert len({each.getsockname()[1] for each in sockets}) == 1
        listening.listen("localhost", sockets)
        port = sockets[0].getsockname()[1]
        with pytest.raises(Misconfigured, match="is taken"), listening.bound("localhost", port):
            pass
    with listening.bound("localhost", port):
        pass
    with listening.bound("127.0.0.1", 0) as first:
        port = first[0].getsockname()[1]
        with listening.bound("127.0.0.1", port) as second:  # neither listens yet
            listening.listen("127.0.0.1", first)
            with pytest.raises(Misconfigured, match=f"Port {port} of 127.0.0.1 is taken"):
                listening.listen("127.0.0.1", second)


def test_a_home_that_cannot_be_written_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    for place in ("/dev/null", str(tmp_path / "file"), "/proc/recall"):
        monkeypatch.setenv("RECALL_HOME", place)
        for arguments in (("status",), ("serve",), ("migrate",)):
            said = refused(*arguments)
            assert "cannot be used: " in said and "set RECALL_HOME to" in said
    monkeypatch.setenv("RECALL_HOME", "~no_such_user/recall")
    assert "RECALL_HOME='~no_such_user/recall' cannot be used" in refused("status")


def test_a_home_is_one_place_wherever_one_stands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from recall.base.settings import Settings

    monkeypatch.chdir(tmp_path)
    assert Settings.load(home="here").home == tmp_path / "here"
    monkeypatch.setenv("HOME", str(tmp_path))
    assert Settings.load(home="~/there").home == tmp_path / "there"


def test_files_are_derived_only_where_they_can_be_kept(tmp_path: Path) -> None:
    (tmp_path / "models").touch()
    store = Store(tmp_path, "0123")
    with pytest.raises(Misconfigured, match="cannot be used"), store.locked():
        pass


def test_a_setting_that_cannot_be_used_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {
        "RECALL_PORT": "abc",
        "RECALL_ENGINE": "fast",
        "RECALL_LEASE": "nan",
        "RECALL_STATEMENT_TIMEOUT": "inf",
        "RECALL_SAMPLE": "maybe",
    }.items():
        monkeypatch.setenv(name, value)
        assert f"{name}='{value}' cannot be used" in refused("status")
        monkeypatch.delenv(name)


@pytest.mark.parametrize("text", [b"DATABASE_URL=\xff", "RECALL_PORT=1".encode("utf-16")])
def test_a_file_of_settings_that_is_no_text_is_said(
    text: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from recall.base.settings import Settings

    file = tmp_path / ".env"
    file.write_bytes(text)
    monkeypatch.setitem(Settings.model_config, "env_file", str(file))
    assert ".env is not UTF-8" in refused("status")
    file.write_bytes(b"\xef\xbb\xbfRECALL_PORT=99999")
    monkeypatch.delenv("RECALL_PORT")
    assert "RECALL_PORT='99999' cannot be used" in refused("status"), "a mark is read past"


@pytest.mark.parametrize(
    ("model", "said"),
    [
        ("/no/such/model", "RECALL_MODEL=/no/such/model is no folder"),
        ("./models/mine", "is no folder"),
        ("~/models/mine", "is no folder"),
        ("../mine", "is no folder"),
        ("a/b/c", "is no folder"),
        ("/dev/null", "RECALL_MODEL=/dev/null is a file"),
    ],
)
def test_a_model_that_is_not_there_is_said_and_nothing_is_fetched(
    model: str, said: str, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("recall.embedding.identity.hub_folder", lambda name: pytest.fail(name))
    with pytest.raises(ModelMissing, match=said):
        open_embedder(model, home)


def test_a_model_that_is_damaged_is_said(tmp_path: Path, home: Path) -> None:
    with pytest.raises(ModelMissing, match="holds no model"):
        open_embedder(str(tmp_path), home)
    (tmp_path / "modules.json").write_text('[{"name": "0"}]')
    with pytest.raises(ModelCorrupt, match=r"modules\.json is not the list"):
        open_embedder(str(tmp_path), home)
    (tmp_path / "modules.json").write_text("{")
    with pytest.raises(ModelCorrupt, match=r"modules\.json is not the list"):
        open_embedder(str(tmp_path), home)


def test_what_nobody_foresaw_is_one_line_without_secrets(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fails(*_: object) -> None:
        raise ValueError("in postgresql://ann:hush@h/d\nand password='hush' too")

    monkeypatch.setattr("recall.runtime.status.read_status", fails)
    said = refused("status", url=database_url)
    assert said.startswith("something unexpected happened: ValueError: in postgresql://ann:***@h/d")
    assert "hush" not in said and "RECALL_DEBUG=1" in said
    monkeypatch.setenv("RECALL_DEBUG", "1")
    with pytest.raises(ValueError, match="hush"):
        recall("status", url=database_url)


def test_errors_of_a_group_and_of_the_system_are_sentences() -> None:
    group = ExceptionGroup("two", [NotFound("There is no cat."), ValueError("x")])
    assert one_line(group) == "There is no cat."
    assert one_line(FileNotFoundError(2, "No such file", "x.png")) == "x.png: no such file."
    assert "UTF-8" in one_line(UnicodeDecodeError("utf-8", b"\xff", 0, 1, "bad"))
    assert one_line(RuntimeError()).startswith("something unexpected happened: RuntimeError: ")


def started(*arguments: str, url: str, home: Path, **given: Any) -> subprocess.Popen[str]:
    environment = os.environ | {"DATABASE_URL": url, "RECALL_HOME": str(home)}
    return subprocess.Popen(
        [sys.executable, "-m", "recall", *arguments],
        env=environment | given.pop("env", {}),
        text=True,
        **{"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **given},
    )


def test_ctrl_c_ends_a_start_at_any_moment_without_a_traceback(
    database_url: str, prepared_home: Path
) -> None:
    for pause in (0.3, 0.6, 1.0, 1.5):
        with started("serve", url=database_url, home=prepared_home) as process:
            time.sleep(pause)
            process.send_signal(signal.SIGINT)
            _, said = process.communicate(timeout=PATIENCE)
        # Before it serves it was interrupted; once it serves, Ctrl-C is how it is ended. On a busy
        # machine Python itself may not have started: then the signal ends it, and nothing is said.
        ends = {0} if "Serving on" in said else {130} if said else {130, -signal.SIGINT}
        assert process.returncode in ends, (pause, process.returncode, said)
        assert "Traceback" not in said and "Exception ignored" not in said


def test_ctrl_c_does_not_wait_for_a_model_that_loads(
    database_url: str, prepared_home: Path
) -> None:
    code = (
        "import time, recall.embedding as e\n"
        "def slow(*_):\n    print('loading', flush=True)\n    time.sleep(3600)\n"
        "e.open_embedder = slow\n"
        "from recall.cli import app; app()"
    )
    command = [sys.executable, "-c", code, "search", "x"]
    environment = os.environ | {"DATABASE_URL": database_url, "RECALL_HOME": str(prepared_home)}
    pipe = subprocess.PIPE
    with subprocess.Popen(command, env=environment, stdout=pipe, stderr=pipe, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "loading\n"
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=PATIENCE)
    assert (process.returncode, said) == (130, "")


@pytest.mark.skipif(sys.platform == "win32", reason="a shell's redirections")
@pytest.mark.parametrize(
    "redirected", ["| head -0", ">&-", "<&- >&- 2>&-", "2>&-", "| sleep 0", "> /dev/null"]
)
def test_an_output_that_nobody_reads_is_no_traceback(
    redirected: str, database_url: str, home: Path, tmp_path: Path
) -> None:
    environment = os.environ | {"DATABASE_URL": database_url, "RECALL_HOME": str(home)}
    command = f"{sys.executable} -m recall status {redirected}"
    done = subprocess.run(
        ["bash", "-c", command], env=environment, capture_output=True, text=True, timeout=PATIENCE
    )
    assert "Traceback" not in done.stderr and "Exception ignored" not in done.stderr
    assert done.returncode in {0, 1, 141}, "and no abort"


def test_a_terminal_that_is_not_utf_8_is_written_to(database_url: str, home: Path) -> None:
    for arguments in (("--help",), ("status",), ("backfill", "--help")):
        ascii_only = {"PYTHONIOENCODING": "ascii", "LC_ALL": "C", "PYTHONUTF8": "0"}
        with started(*arguments, url=database_url, home=home, env=ascii_only) as process:
            _, said = process.communicate(timeout=PATIENCE)
        assert (process.returncode, said) == (0, "")


@pytest.mark.parametrize("name", ["", "x" * 256, "a\0b", "a\udcffb"])
def test_a_tenant_that_cannot_be_is_said(name: str, database_url: str) -> None:
    for arguments in (("status",), ("keys", "create", "k")):
        assert "A tenant's name" in refused(*arguments, "--tenant", name, url=database_url)
