"""Folders and locks that belong to one account, though others may write beside them.

In a shared folder such as /tmp another account can be first, with a folder of the name that recall
would take or a link to one of recall's. So a path proves nothing: a folder is opened without
following links, examined, and only then given its owner and its mode, all by one descriptor.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from contextlib import suppress
from typing import IO, TYPE_CHECKING

from recall.contract.errors import Misconfigured

if TYPE_CHECKING:
    from pathlib import Path

if sys.platform != "win32":
    import fcntl


def private(folder: Path, owner: int, group: int) -> None:
    """Make `folder`, or take it when it is ours: of `owner`, 0700, with no one else's entries.

    `owner` may be another account when we are root; what root made and did not hand over, because
    it was interrupted, is handed over now. Raises Misconfigured for a link, for a file, and for a
    folder that somebody else owns or has put something into.
    """
    with suppress(FileExistsError):  # an old folder is examined below, as a new one is
        folder.mkdir(mode=0o700)
    ours = {owner, os.geteuid()}
    try:
        opened = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except OSError as error:
        if folder.is_symlink() or not folder.is_dir():
            raise Misconfigured(
                f"{folder} is a link or a file where recall needs a folder of its own; remove it."
            ) from error
        raise
    try:
        if os.fstat(opened).st_uid not in ours:
            raise Misconfigured(
                f"{folder} belongs to another user; recall will not use it. Remove it, or set "
                "RECALL_HOME to another folder."
            )
        os.fchmod(opened, 0o700)  # before the entries are read: nobody can add one behind that
        _check_entries(folder, opened, ours)
        if os.fstat(opened).st_uid != owner:
            os.fchown(opened, owner, group)
    finally:
        os.close(opened)


def _check_entries(folder: Path, opened: int, ours: set[int]) -> None:
    for name in os.listdir(opened):  # the path may lead to another folder by now
        if os.stat(name, dir_fd=opened, follow_symlinks=False).st_uid not in ours:
            raise Misconfigured(
                f"{folder / name} belongs to another user; recall will not use its folder."
            )


def check_writable(folder: Path, setting: str) -> None:
    """Make `folder`, which lies below the folder that `setting` names, and write 64 KB into it.

    Raises Misconfigured with the reason when the folder cannot be made or written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as probe:
            probe.write(b"\0" * 65536)  # a full disk often lets an empty file be made
            probe.flush()
            os.fsync(probe.fileno())
    except OSError as error:
        raise unusable(folder, setting, error) from error


def unusable(folder: Path, setting: str, error: OSError) -> Misconfigured:
    """Return the error for `folder`, below the folder that `setting` names, with its reason."""
    where = error.filename if isinstance(error.filename, str | os.PathLike) else folder
    reason = (error.strerror or "").lower()
    if isinstance(error, shutil.Error):  # a list of what could not be copied, and why
        reason = str(error.args[0][0][-1]).partition("] ")[2].partition(":")[0].lower()
    reason = reason or type(error).__name__
    return Misconfigured(
        f"{os.fspath(where)} cannot be used: {reason}; set {setting} to a folder that is yours, "
        "with room."
    )


def lock_file(path: Path) -> IO[bytes]:
    """Return a file to lock, made if need be, of mode 0600: no other account can take its lock."""
    opened = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    os.fchmod(opened, 0o600)
    return os.fdopen(opened, "r+b", buffering=0)


class locked:
    """An exclusive lock on a file for the length of a `with` block."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __enter__(self) -> None:
        self._file = lock_file(self._path)
        fcntl.flock(self._file, fcntl.LOCK_EX)

    def __exit__(self, *_: object) -> None:
        self._file.close()


def held(path: Path) -> bool:
    """Return whether a process holds the lock of the file at `path`, shared or exclusive."""
    with lock_file(path) as probe:
        try:
            fcntl.flock(probe, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False
