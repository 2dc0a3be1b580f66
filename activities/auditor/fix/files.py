"""Reads a file below the root of a plan and swaps its content, never through a link."""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from activities.safe_files import PathSkippedError, open_folder, read_inside, write_new


@contextmanager
def folder_of(root: str, path: str) -> Iterator[tuple[int, str]]:
    """The folder that holds ``path``, open as a descriptor for ``dir_fd``, and the file's name in it.

    A folder that is swapped for a link afterwards changes nothing: the descriptor stays with the folder.

    Args:
        root: absolute and free of links, as the inventory gives it.
        path: relative to the root, with ``/``.

    Raises:
        PathSkippedError: with the reason, as ``safe_files.open_folder``; `link` also if the root is now
            behind a link.
    """
    folder, _, name = path.rpartition("/")
    descriptor = open_folder(Path(root), folder)
    try:
        # Checked after opening: a link made later no longer matters.
        if os.path.realpath(root) != root:
            raise PathSkippedError("link")
        yield descriptor, name
    finally:
        os.close(descriptor)


def read_file(root: str, path: str, limit: int) -> bytes:
    """The bytes of a regular file; arguments and errors as ``folder_of`` and ``safe_files.read_inside``."""
    with folder_of(root, path):
        return read_inside(Path(root), path, limit)


def swap_content(folder: int, name: str, *, before: str, after: bytes, temporary: str) -> None:
    """Put ``after`` in place of the content whose SHA-256 is ``before``; the rename is not yet synced.

    The new content is written beside the file as ``temporary`` and renamed over it, so the file gets a new
    inode: mode and, where allowed, owner are kept; extended attributes are not, and other hard links to the
    old inode keep the old content. Between the last check and the rename there are a few
    microseconds in which another program's write would be lost; POSIX has no compare-and-rename.

    Raises:
        PathSkippedError: the file is missing, a link, no regular file, or its content is not ``before`` (any
            more).
        OSError: it cannot be written; the file is as it was and ``temporary`` is gone.
    """
    with _open_regular(folder, name) as descriptor:
        status = os.fstat(descriptor)
        # A rename would get around a file's write protection, and opening does not stop the superuser.
        if not status.st_mode & 0o222:
            raise PermissionError(errno.EACCES, "Read-only file")
        try:
            mode, owner = stat.S_IMODE(status.st_mode), (status.st_uid, status.st_gid)
            write_new(folder, temporary, after, mode, owner)
            if not _still_holds(folder, name, descriptor, before):
                raise PathSkippedError("changed")
            os.replace(temporary, name, src_dir_fd=folder, dst_dir_fd=folder)
        except BaseException:
            remove(folder, temporary)
            raise


def remove(folder: int, name: str) -> None:
    """Remove the file ``name`` from ``folder`` if it is there."""
    with suppress(FileNotFoundError):
        os.unlink(name, dir_fd=folder)


@contextmanager
def _open_regular(folder: int, name: str) -> Iterator[int]:
    try:
        # For writing, so that a read-only file is refused. Non-blocking, as it may have become a pipe.
        descriptor = os.open(name, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=folder)
    except FileNotFoundError:
        raise PathSkippedError("vanished") from None
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.EISDIR, errno.ENXIO):
            raise PathSkippedError("special") from None
        raise
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise PathSkippedError("special")
        yield descriptor
    finally:
        os.close(descriptor)


def _still_holds(folder: int, name: str, descriptor: int, sha256: str) -> bool:
    """Whether ``name`` is still the open file, and its content still has that digest."""
    try:
        named = os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return False
    with open(descriptor, "rb", closefd=False) as file:
        same_content = hashlib.file_digest(file, "sha256").hexdigest() == sha256
    return same_content and os.path.samestat(named, os.fstat(descriptor))
