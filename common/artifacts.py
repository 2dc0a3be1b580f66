"""Content-addressed files for what is too big for a workflow's history: findings, diffs, new file contents.

An activity's argument or result carries an ``ArtifactRef``; the bytes lie in the store. Storing the same
bytes twice is one file, so a retried activity leaves no orphan.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable
from pathlib import Path

from pydantic import BaseModel

from common.digest import digest_bytes
from common.errors import permanent


class ArtifactRef(BaseModel, frozen=True):
    """What names stored bytes: their SHA-256 and their size in bytes."""

    sha256: str
    size: int


class ArtifactStore:
    """A folder of artifacts, ``<first two digits>/<sha256>`` each."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def put(self, data: bytes) -> ArtifactRef:
        """Store ``data`` durably (fsync before the name appears) and return its reference."""
        ref = ArtifactRef(sha256=digest_bytes(data), size=len(data))
        if not self._path(ref).exists():
            write_atomically(self._path(ref), data)
        return ref

    def get(self, ref: ArtifactRef) -> bytes:
        """The bytes of ``ref``, checked against its digest.

        Raises:
            ApplicationError: type ``ArtifactMissing`` or ``ArtifactDamaged``; neither is mended by a retry.
        """
        try:
            data = self._path(ref).read_bytes()
        except FileNotFoundError:
            raise permanent("ArtifactMissing", f"artifact {ref.sha256} is not in {self._folder}") from None
        if digest_bytes(data) != ref.sha256:
            raise permanent("ArtifactDamaged", f"artifact {ref.sha256} in {self._folder} was changed on disk")
        return data

    def _path(self, ref: ArtifactRef) -> Path:
        return self._folder / ref.sha256[:2] / ref.sha256


def write_atomically(
    path: Path, data: bytes | Iterable[bytes], mode: int = 0o600, *, replace: bool = True
) -> None:
    """Write ``data`` beside ``path``, fsync, rename over it, fsync the folder: all of it or nothing.

    Raises:
        FileExistsError: there is something at ``path``, and it is not to be replaced.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name[:40]}.", suffix=".hibernaut")
    try:
        with os.fdopen(handle, "wb") as file:
            file.writelines([data] if isinstance(data, bytes) else data)
            file.flush()
            os.fchmod(file.fileno(), mode)
            os.fsync(file.fileno())
        if replace:
            os.replace(temporary, path)
        else:
            # A link, unlike a rename, is made by one of those that try at once.
            os.link(temporary, path)
            os.unlink(temporary)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make a rename or a new name in ``folder`` survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
