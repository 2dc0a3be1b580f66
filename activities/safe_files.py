"""Reads and writes files below an untrusted folder: no link is followed, no special file is opened.

Only files in the territory of the agent's owner are opened, which is checked on the open folder itself. Every
path component is opened relative to its parent's descriptor, so that a folder that is swapped for a link at
that very moment does not lead outside either.
"""

from __future__ import annotations

import fcntl
import os
import secrets
import stat
import sys
from contextlib import suppress
from contextvars import ContextVar
from pathlib import Path
from typing import Self

from common.territory import Territory

# Set for each activity by `activities/calls/path_limits.py`; None outside a worker.
current_territory: ContextVar[Territory | None] = ContextVar("territory", default=None)

# Leaves room for a prefix: programs take absolute paths, and the system's limit is 4,096 bytes.
_MAX_PATH_BYTES = 3000
# Bounded because the standard library deletes trees recursively; real projects nest folders tens deep.
_MAX_PARTS = 200

_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK


class PathSkippedError(Exception):
    """A path that is not read, and why: oversized, unreadable, link, name, private, vanished or special."""

    quotes_nothing = True

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def open_folder(root: Path, path: str) -> int:
    """A descriptor of the folder `path` below `root` (empty: `root` itself); the caller closes it.

    Raises:
        PathSkippedError: with the reason; `special` if the path is not a folder, `private` if it is out of
            bounds.
    """
    parts = _parts(path) if path else []
    try:
        descriptor = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as error:
        raise _skipped(error) from None
    for part in parts:
        try:
            if not stat.S_ISDIR(_kind(part, descriptor)):
                raise PathSkippedError("special")
            deeper = os.open(part, _FLAGS | os.O_DIRECTORY, dir_fd=descriptor)
        except OSError as error:
            raise _skipped(error) from None
        finally:
            os.close(descriptor)
        descriptor = deeper
    try:
        _check_bounds(descriptor)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def read_inside(root: Path, path: str, limit: int) -> bytes:
    """The bytes of the regular file `path` (relative, with `/`) below `root`, at most `limit` of them.

    Raises:
        PathSkippedError: with the reason; a file over `limit` bytes is left out unread.
    """
    with FolderReader(root) as reader:
        return reader.read(path, limit)


class FolderReader:
    """Reads files below `root`; for consecutive reads from one folder, the folder is opened only once."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._folder: str | None = None
        self._descriptor = -1
        self._check_each_name = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._folder is not None:
            os.close(self._descriptor)
            self._folder = None

    def read(self, path: str, limit: int) -> bytes:
        """As `read_inside`."""
        *folders, name = _parts(path)
        folder = "/".join(folders)
        if folder != self._folder:
            self.__exit__()
            self._descriptor = open_folder(self._root, folder)
            self._folder = folder
            self._check_each_name = _is_home(self._descriptor)
        if self._check_each_name:
            _check_bounds(self._descriptor, name)
        return _read(self._descriptor, name, limit)


def _read(folder: int, name: str, limit: int) -> bytes:
    try:
        # Checked before opening: merely opening a pipe or a device affects it.
        if not stat.S_ISREG(_kind(name, folder)):
            raise PathSkippedError("special")
        descriptor = os.open(name, _FLAGS, dir_fd=folder)
        with os.fdopen(descriptor, "rb") as file:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                raise PathSkippedError("special")
            if status.st_size > limit:
                raise PathSkippedError("oversized")
            data = file.read(limit + 1)
    except OSError as error:
        raise _skipped(error) from None
    if len(data) > limit:  # it grew meanwhile
        raise PathSkippedError("oversized")
    return data


def read_real(path: Path, limit: int) -> bytes:
    """The bytes of the regular file that `path` leads to, at most `limit` of them; links are followed.

    Raises:
        PathSkippedError: as `read_inside`.
    """
    real = Path(os.path.realpath(path))
    return read_inside(real.parent, real.name, limit)


def write_inside(root: Path, name: str, data: bytes, mode: int) -> None:
    """Write the file `name` in the folder `root`, whole or not at all; a missing folder is created.

    Raises:
        PathSkippedError: with the reason.
        OSError: it cannot be written.
    """
    [name] = _parts(name)
    root.mkdir(parents=True, exist_ok=True)
    folder = open_folder(root, "")
    temporary = f".{secrets.token_hex(8)}.hibernaut"
    try:
        _check_bounds(folder, name)
        write_new(folder, temporary, data, mode)
        os.replace(temporary, name, src_dir_fd=folder, dst_dir_fd=folder)
        os.fsync(folder)
    finally:
        with suppress(FileNotFoundError):
            os.unlink(temporary, dir_fd=folder)
        os.close(folder)


def write_new(folder: int, name: str, data: bytes, mode: int, owner: tuple[int, int] | None = None) -> None:
    """Create a file in an open folder and sync its content; its directory entry is not synced.

    Args:
        folder: the folder's descriptor.
        name: the file's name, without a folder.
        data: its whole content.
        mode: its permissions.
        owner: the user and group to give it to, if this process is allowed to.

    Raises:
        OSError: it cannot be written, or exists already.
    """
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
    with open(os.open(name, flags, 0o600, dir_fd=folder), "wb") as file:
        file.write(data)
        file.flush()
        if owner is not None:
            try:
                os.fchown(file.fileno(), *owner)
            except PermissionError:
                mode &= 0o777  # set-user-id must not carry over to another owner
        os.fchmod(file.fileno(), mode)
        os.fsync(file.fileno())


def in_bounds(path: Path) -> bool:
    """Whether the file or folder that `path` resolves to may be read."""
    territory = current_territory.get()
    return territory is None or territory.holds(Path(os.path.realpath(path)))


def _check_bounds(folder: int, name: str = "") -> None:
    territory = current_territory.get()
    if territory is None:
        return
    place = place_of(folder)
    # For a file only its folder matters, except directly in the home folder.
    if not territory.holds(place / name if place == territory.home else place):
        raise PathSkippedError("private")


def _is_home(folder: int) -> bool:
    territory = current_territory.get()
    return bool(territory and territory.home and place_of(folder) == territory.home)


def place_of(descriptor: int) -> Path:
    """The real path of an open folder, as it is now."""
    if sys.platform == "darwin":
        return Path(os.fsdecode(fcntl.fcntl(descriptor, fcntl.F_GETPATH, bytes(1024)).rstrip(b"\0")))
    return Path(os.readlink(f"/proc/self/fd/{descriptor}"))


def is_utf8(name: str) -> bool:
    """Whether a file name read from a folder is valid UTF-8."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _parts(path: str) -> list[str]:
    parts = path.split("/")
    if "\0" in path or {"", ".", ".."} & set(parts):
        raise PathSkippedError("name")
    if len(parts) > _MAX_PARTS or len(os.fsencode(path)) > _MAX_PATH_BYTES:
        raise PathSkippedError("name")
    return parts


def _kind(name: str, folder: int) -> int:
    mode = os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode
    if stat.S_ISLNK(mode):
        raise PathSkippedError("link")
    return mode


def _skipped(error: OSError) -> PathSkippedError:
    gone = isinstance(error, FileNotFoundError | NotADirectoryError)
    return PathSkippedError("vanished" if gone else "unreadable")
