"""The stage of a run: a server of its own, hurt in every way, or somebody's, by its network."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Self

import psycopg
from psycopg.conninfo import conninfo_to_dict

from recall.base import urls
from recall.chaos import pooler
from recall.chaos.front import ADDRESS, Backend, Front
from recall.chaos.neon import Neon
from recall.contract.errors import Misconfigured, RecallError
from recall.embedded import cluster, keeper

if TYPE_CHECKING:
    from collections.abc import Iterator

#: Bytes of the small disk on which a scratch server lives, so that it can be filled.
DISK = 768 << 20
FAKETIME = "usr/lib/*/faketime/libfaketimeMT.so.1"
IS_RECALL = "select to_regclass('recall.memory') is not null"
HAS_MEMORIES = "select exists (select from recall.memory)"


class Stage:
    """Two fronts and what is behind them, for the length of a block."""

    folder: Path
    pooled: Front
    direct: Front
    neon: Neon | None = None
    #: A sentence for each kind of fault that cannot be made here, and why.
    left_out: list[str]

    def __init__(self, database: str | None, *, disk: bool, clock: bool) -> None:
        """Choose the URL of a scratch database; without one a server of its own is made.

        `disk` is whether its disk shall be filled, `clock` whether its clock shall be turned, where
        that is possible.
        """
        self._database = database
        self._wants_disk, self._wants_clock = disk, clock
        self._disk: Path | None = None
        self._clock: Path | None = None
        self.left_out = []

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            self.folder = Path(tempfile.mkdtemp(prefix="recall-chaos-"))
            stack.callback(shutil.rmtree, self.folder, ignore_errors=True)
            self.folder.chmod(0o711)
            if self._database:
                self._behind_fronts(stack, self._database)
            else:
                self._on_its_own(stack)
            self._open = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    # -- making it --------------------------------------------------------------------------------

    def _behind_fronts(self, stack: ExitStack, url: str) -> None:
        _refuse_memories(url)
        self.url = urls.direct(url)
        self.pooled = stack.enter_context(Front(_backend(url)))
        self.direct = stack.enter_context(Front(_backend(self.url)))
        self.left_out.append("The database is somebody's: only its network and recall are hurt.")

    def _on_its_own(self, stack: ExitStack) -> None:
        home = self.folder / "server"
        home.mkdir(mode=0o711)
        home.chmod(0o711)
        if self._wants_disk:
            self._mount(stack, home)
        if self._wants_clock:
            stack.enter_context(self._turnable_clock())
        with_pooler = pooler.installed()
        if not with_pooler:
            self.left_out.append("PgBouncer is not installed: traffic goes straight to Postgres.")
        stack.callback(self._stop_server)
        self.neon = stack.enter_context(Neon(home, pooler=with_pooler, encrypted=False))
        self.pooled, self.direct = self.neon.pooled, self.neon.direct
        self.url = self.neon.server.url()

    def _mount(self, stack: ExitStack, home: Path) -> None:
        size = f"size={DISK},mode=0711"
        command = ["mount", "-t", "tmpfs", "-o", size, "recall-chaos", str(home)]
        try:
            subprocess.run(command, check=True, capture_output=True)
        except (OSError, subprocess.CalledProcessError):
            self.left_out.append("No small disk can be mounted here: none is filled.")
            return
        unmount = ["umount", "--lazy", str(home)]
        stack.callback(subprocess.run, unmount, check=False, capture_output=True)
        self._disk = home

    @contextmanager
    def _turnable_clock(self) -> Iterator[None]:
        """Give everything that is started inside the block a clock that can be turned."""
        libraries = sorted(Path("/").glob(FAKETIME))
        if not libraries:
            self.left_out.append("libfaketime is not installed: no clock is turned.")
            yield
            return
        self._clock = self.folder / "clock"
        self.turn_clock(0)
        ours = {
            "LD_PRELOAD": str(libraries[0]),
            "FAKETIME_TIMESTAMP_FILE": str(self._clock),
            "FAKETIME_CACHE_DURATION": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "DONT_FAKE_MONOTONIC": "1",
        }
        before = {name: os.environ.get(name) for name in ours}
        os.environ |= ours
        try:
            yield
        finally:
            for name, value in before.items():
                os.environ.pop(name) if value is None else os.environ.__setitem__(name, value)

    def _stop_server(self) -> None:
        """Stop a server whose keeper was killed, or whose keeper cannot stop it."""
        if self.neon and keeper.alive(self.neon.server):
            with suppress(RecallError):  # its keeper was faster
                cluster.stop(self.neon.server)

    def url_through(self, front: Front) -> str:
        """Return the database's URL through `front`."""
        given = {name: str(value) for name, value in conninfo_to_dict(self.url).items()}
        where = ((ADDRESS, str(front.port)),)
        user, password = given.get("user"), given.get("password")
        return str(urls.Url(user, password, where, given.get("dbname", ""), {"sslmode": "disable"}))

    # -- what can be done to it -------------------------------------------------------------------

    @property
    def has_disk(self) -> bool:
        """Whether there is a disk that can be filled."""
        return self._disk is not None

    @property
    def has_clock(self) -> bool:
        """Whether there is a clock that can be turned."""
        return self._clock is not None

    def fill_disk(self) -> None:
        """Leave no room on the small disk."""
        assert self._disk is not None
        with suppress(OSError), (self._disk / "ballast").open("wb") as ballast:
            while True:
                ballast.write(b"\0" * (1 << 20))
                ballast.flush()

    def clear_disk(self) -> None:
        """Give the room back."""
        assert self._disk is not None
        (self._disk / "ballast").unlink(missing_ok=True)

    def turn_clock(self, seconds: int) -> None:
        """Set the clock of Postgres and recall apart from this machine's by `seconds`."""
        assert self._clock is not None
        self._clock.write_text(f"{seconds:+d}\n")
        self._clock.chmod(0o644)

    def keeper(self) -> int | None:
        """Return the process that stops the server behind its last user."""
        if self.neon is None:
            return None
        wanted = {"recall.embedded.keeper", str(self.neon.server.root)}
        for line in Path("/proc").glob("[0-9]*/cmdline"):
            with suppress(OSError):
                if wanted <= set(line.read_text().split("\0")):
                    return int(line.parent.name)
        return None


def _backend(url: str) -> Backend:
    given = conninfo_to_dict(url)
    return Backend(
        str(given.get("host", "localhost")),
        int(given.get("port") or cluster.PORT),
        tls=given.get("sslmode") not in {"disable", "allow"},
    )


def _refuse_memories(url: str) -> None:
    try:
        with psycopg.connect(urls.direct(url), connect_timeout=15) as connection:
            is_recall = connection.execute(IS_RECALL).fetchone()
            memories = is_recall and is_recall[0] and connection.execute(HAS_MEMORIES).fetchone()
    except psycopg.Error as error:
        said = " ".join(str(error).split())
        raise Misconfigured(
            f"The database at {urls.hosts_of(url)} cannot be used: {said}."
        ) from error
    if memories and memories[0]:
        raise Misconfigured(
            f"The database at {urls.hosts_of(url)} holds memories, and a run erases and fills; "
            "give it an empty one."
        )
