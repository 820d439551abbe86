"""The Postgres that recall carries: shared, private, and gone with its last user."""

from __future__ import annotations

import os
import shutil
import signal
import stat
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING

import psutil
import psycopg
import pytest
from conftest import make_home, remove_home

from recall.base.folders import private
from recall.contract.errors import Misconfigured, Unavailable
from recall.embedded import cluster, keeper

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

USER = (
    "import sys; from pathlib import Path; from recall.embedded import keeper;"
    "use = keeper.start(Path(sys.argv[1])); print(use.server.url(), flush=True); sys.stdin.read()"
)
PATIENCE = 30.0  # seconds; everything here is quick unless the machine is busy


@pytest.fixture
def own_home() -> Iterator[Path]:
    """A home that no other test uses."""
    home = make_home()
    yield home
    for process in keepers(home):
        process.kill()
    if pid := postmaster(home):
        os.kill(pid, signal.SIGQUIT)
    remove_home(home)


@pytest.fixture(scope="module")
def made() -> Iterator[Path]:
    """A home with a cluster, at rest, and without what a start makes anew."""
    home = make_home()
    with used(home) as use:
        file = use.server.data / "postmaster.pid"
    assert eventually(lambda: not file.exists() and not keepers(home))
    for lock in use.server.root.glob("*.lock"):
        lock.unlink()
    yield home
    shutil.rmtree(home)


@pytest.fixture
def made_home(own_home: Path, made: Path) -> Path:
    """A home of the test's own whose cluster was made before: making one takes longest."""
    subprocess.run(["cp", "-a", made / "postgres", own_home], check=True)
    return own_home


class User:
    """A process that uses the server until it is killed."""

    def __init__(self, home: Path, **environment: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", USER, str(home)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | environment,
        )

    def url(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def kill(self) -> None:
        self.process.kill()
        self.process.communicate()


def postmaster(home: Path) -> int | None:
    file = home / "postgres" / "data" / "postmaster.pid"
    try:
        pid = int(file.read_text().splitlines()[0])
    except (OSError, IndexError):
        return None
    return pid if psutil.pid_exists(pid) else None


def keepers(home: Path) -> list[psutil.Process]:
    root = str(home / "postgres")
    found = []
    for process in psutil.process_iter(["cmdline", "status"]):
        line = process.info["cmdline"] or []
        if "recall.embedded.keeper" in line and root in line:
            found.append(process)
    return found


def eventually(holds: Callable[[], object]) -> bool:
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        if holds():
            return True
        time.sleep(0.05)
    return False


@contextmanager
def used(home: Path) -> Iterator[keeper.Use]:
    use = keeper.start(home)
    try:
        yield use
    finally:
        use.release()


def execute(url: str, statement: str) -> list[tuple[object, ...]]:
    with psycopg.connect(url, autocommit=True) as connection:
        cursor = connection.execute(statement.encode())
        return cursor.fetchall() if cursor.description else []


def test_processes_share_one_server_and_it_stops_when_all_of_them_were_killed(
    own_home: Path,
) -> None:
    users = [User(own_home) for _ in range(4)]
    urls = {user.url() for user in users}
    assert len(urls) == 1
    pid = postmaster(own_home)
    assert pid and len(keepers(own_home)) == 1
    (url,) = urls
    execute(url, "create table kept as select 1 as one")
    for user in users[:3]:
        user.kill()
    time.sleep(0.5)
    assert postmaster(own_home) == pid
    assert execute(url, "select one from kept") == [(1,)]
    users[3].kill()
    assert eventually(lambda: postmaster(own_home) is None)
    with used(own_home):
        assert execute(url, "select one from kept") == [(1,)]


def test_after_the_server_was_killed_nothing_committed_is_lost(made_home: Path) -> None:
    with used(made_home) as use:
        execute(use.server.url(), "create table kept (n integer)")
        for n in range(20):
            execute(use.server.url(), f"insert into kept values ({n})")
        pid = postmaster(made_home)
        assert pid
        os.kill(pid, signal.SIGKILL)
        with used(made_home) as again:
            assert execute(again.server.url(), "select count(*) from kept") == [(20,)]


def test_a_keeper_that_was_killed_is_replaced_by_the_next_user(made_home: Path) -> None:
    with used(made_home):
        assert eventually(lambda: keepers(made_home))
        (keeper,) = keepers(made_home)
        keeper.kill()
        with used(made_home):
            assert eventually(lambda: [k for k in keepers(made_home) if k.pid != keeper.pid])
        assert postmaster(made_home)
    assert eventually(lambda: postmaster(made_home) is None)


def test_a_user_who_comes_while_the_server_stops_finds_one(made_home: Path) -> None:
    for pause in (0.0, 0.02, 0.1, 0.3):
        use = keeper.start(made_home)
        use.release()
        time.sleep(pause)
        with used(made_home) as again:
            assert execute(again.server.url(), "select 1") == [(1,)]


def test_only_its_user_can_reach_it(own_home: Path) -> None:
    with used(own_home) as use:
        for folder in (use.server.socket, use.server.data):
            assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        listening = execute(use.server.url(), "show listen_addresses")
        assert listening == [("",)]
        assert not stat.S_IMODE(use.server.root.stat().st_mode) & 0o066
        if os.geteuid() == 0:
            assert use.server.data.stat().st_uid != 0
            assert stat.S_IMODE(own_home.stat().st_mode) == 0o711, "a parent was opened"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root's server runs as another account")
def test_root_is_told_when_its_account_cannot_enter_the_home(tmp_path: Path) -> None:
    shut = tmp_path / "shut"
    shut.mkdir(mode=0o700)
    with pytest.raises(Misconfigured, match="only root may enter"):
        keeper.start(shut / "home")


def test_an_interrupted_first_start_is_begun_again(own_home: Path) -> None:
    data = own_home / "postgres" / "data"
    data.mkdir(parents=True)
    (data / "global").mkdir()
    (data / "half").write_text("written")
    with used(own_home) as use:
        assert execute(use.server.url(), "select 1") == [(1,)]


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A start that cannot work is given up soon."""
    monkeypatch.setattr(cluster, "START_SECONDS", 8)


@pytest.mark.usefixtures("impatient")
def test_the_environment_of_one_user_does_not_mislead_the_others(own_home: Path) -> None:
    first = User(own_home, PGPORT="5999", PGDATABASE="x", PGHOST="nowhere", PGUSER="nobody")
    try:
        assert first.url()
        with used(own_home) as use:
            assert execute(use.server.url(), "select current_user") == [("postgres",)]
    finally:
        first.kill()


def test_a_home_with_a_long_path_has_its_socket_elsewhere(own_home: Path) -> None:
    deep = own_home / ("d" * 60) / ("e" * 60)
    with used(deep) as use:
        assert len(str(use.server.socket)) <= cluster.LONGEST_SOCKET_FOLDER
        assert stat.S_IMODE(use.server.socket.stat().st_mode) == 0o700
        assert execute(use.server.url(), "select 1") == [(1,)]
    assert eventually(lambda: postmaster(deep) is None)


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("name", ["my data", "my 'data'", "é % &"])
def test_a_home_with_strange_characters_works(own_home: Path, name: str) -> None:
    strange = own_home / name
    with used(strange) as use:
        assert execute(use.server.url(), "select 1") == [(1,)]
    assert eventually(lambda: postmaster(strange) is None)


def test_a_server_that_was_killed_is_not_alive_and_is_revived_by_one_of_many(
    made_home: Path,
) -> None:
    with used(made_home) as use:
        execute(use.server.url(), "create table kept as select 1 as one")
        assert keeper.alive(use.server)
        assert not keeper.revive(use.server), "it answers"
        pid = postmaster(made_home)
        assert pid
        os.kill(pid, signal.SIGKILL)
        assert eventually(lambda: not keeper.alive(use.server))
        with ThreadPoolExecutor(4) as threads:
            revived = list(threads.map(keeper.revive, [use.server] * 4))
        assert sorted(revived) == [False, False, False, True]
        assert keeper.alive(use.server)
        assert execute(use.server.url(), "select one from kept") == [(1,)]
    assert eventually(lambda: postmaster(made_home) is None), "its keeper watches the new one"


def test_a_pid_that_became_another_programs_is_no_server(made_home: Path) -> None:
    with used(made_home) as use:
        file = use.server.data / "postmaster.pid"
        written = file.read_text()
        file.write_text(written.replace(written.splitlines()[0], str(os.getpid()), 1))
        assert not keeper.alive(use.server)
        file.write_text(written)
        assert keeper.alive(use.server)
        file.write_text("no number")
        assert not keeper.alive(use.server)
        file.write_text(written)


def test_a_pid_file_that_names_another_program_does_not_keep_the_server_from_starting(
    made_home: Path,
) -> None:
    with used(made_home) as use:
        file = use.server.data / "postmaster.pid"
        written = file.read_text()
    assert eventually(lambda: not file.exists() and not keepers(made_home))
    file.write_text(written.replace(written.splitlines()[0], str(os.getpid()), 1))
    shutil.chown(file, *[file.parent.stat().st_uid, file.parent.stat().st_gid])
    with used(made_home) as use:
        assert execute(use.server.url(), "select 1") == [(1,)]


def test_a_cluster_of_another_postgres_is_refused_in_a_sentence(made_home: Path) -> None:
    with used(made_home) as use:
        version = use.server.data / "PG_VERSION"
    assert eventually(lambda: postmaster(made_home) is None)
    version.write_text("17\n")
    with pytest.raises(Misconfigured, match="was made by Postgres 17, and recall carries 18"):
        keeper.start(made_home)
    version.write_text("18\n")


def test_why_it_does_not_start_is_said_at_once(made_home: Path) -> None:
    with used(made_home) as use:
        settings = use.server.data / "postgresql.auto.conf"
    assert eventually(lambda: postmaster(made_home) is None and not keepers(made_home))
    with settings.open("a") as file:
        file.write("shared_buffers = 'plenty'\n")
    began = time.monotonic()
    with pytest.raises(Unavailable, match=r"does not start: .*server\.log says more"):
        keeper.start(made_home)
    assert time.monotonic() - began < cluster.START_SECONDS / 2


def test_a_folder_that_somebody_else_made_first_is_not_taken(tmp_path: Path) -> None:
    ours = (os.geteuid(), os.getegid())
    victim = tmp_path / "victim"
    victim.mkdir(mode=0o755)
    link = tmp_path / "link"
    link.symlink_to(victim)
    with pytest.raises(Misconfigured, match="is a link or a file"):
        private(link, *ours)
    assert stat.S_IMODE(victim.stat().st_mode) == 0o755
    file = tmp_path / "file"
    file.touch()
    with pytest.raises(Misconfigured, match="is a link or a file"):
        private(file, *ours)
    own = tmp_path / "own"
    for _ in range(2):
        private(own, *ours)
        assert stat.S_IMODE(own.stat().st_mode) == 0o700


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can act for another user")
def test_a_folder_of_another_user_or_with_something_of_theirs_is_not_taken(tmp_path: Path) -> None:
    nobody = 65534
    theirs = tmp_path / "theirs"
    theirs.mkdir(mode=0o777)
    os.chown(theirs, nobody, nobody)
    with pytest.raises(Misconfigured, match="belongs to another user"):
        private(theirs, 0, 0)
    assert theirs.stat().st_uid == nobody
    ours = tmp_path / "ours"
    ours.mkdir()
    (ours / "socket").touch()
    os.chown(ours / "socket", nobody, nobody)
    with pytest.raises(Misconfigured, match="belongs to another user"):
        private(ours, 0, 0)


def test_nobody_else_can_hold_a_lock(own_home: Path) -> None:
    with used(own_home) as use:
        locks = list(use.server.root.glob("*.lock"))
        assert {lock.name for lock in locks} >= {"start.lock", "users.lock"}
        for lock in locks:
            assert stat.S_IMODE(lock.stat().st_mode) == 0o600, lock


@pytest.mark.parametrize("name", ["file", "file/below"])
def test_a_home_that_is_no_folder_is_said(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(Misconfigured, match=r"cannot be used: .*; set RECALL_HOME"):
        keeper.start(tmp_path / name)
