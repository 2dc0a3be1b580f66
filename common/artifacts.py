"""Content-addressed files for what is too big for a workflow's history: findings, pages, transcripts, diffs.

An activity's argument or result carries an ``ArtifactRef``; the bytes are in the store. Storing the same
bytes twice gives one file, so a retried activity leaves no orphan. An empty file beside each marks every
agent that stored it, so that it can be deleted with the last of them.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

from pydantic import BaseModel
from temporalio import activity

from common.digest import digest_bytes
from common.errors import permanent
from common.settings import Settings


class ArtifactRef(BaseModel, frozen=True):
    """Names stored bytes by their SHA-256 and their size in bytes."""

    sha256: str
    size: int


class ArtifactStore:
    """A folder of artifacts, ``<two digits>/<sha256>``, with marks ``<sha256>.<digest of an agent's id>``."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @classmethod
    def of(cls, settings: Settings) -> ArtifactStore:
        """The store in the data folder, which all workers share."""
        return cls(settings.data_dir / "artifacts")

    def put(self, data: bytes, agent: str = "") -> ArtifactRef:
        """Store ``data`` durably (fsync before the name appears) and return its reference.

        Within an activity, it is marked as its agent's, or as that of the ``agent`` named.
        """
        ref = ArtifactRef(sha256=digest_bytes(data), size=len(data))
        path = self._path(ref)
        with _locked(path.parent, fcntl.LOCK_SH):
            if activity.in_activity():
                path.with_suffix(_mark(agent or activity.info().workflow_id or "")).touch(0o600)
            if not path.exists():
                write_atomically(path, data)
        return ref

    def get(self, ref: ArtifactRef) -> bytes:
        """The bytes of ``ref``, checked against its digest.

        Raises:
            ApplicationError: type ``ArtifactMissing`` or ``ArtifactDamaged``, permanent.
        """
        try:
            data = self._path(ref).read_bytes()
        except FileNotFoundError:
            raise permanent("ArtifactMissing", f"artifact {ref.sha256} is not in {self._folder}") from None
        if digest_bytes(data) != ref.sha256:
            raise permanent("ArtifactDamaged", f"artifact {ref.sha256} in {self._folder} was changed on disk")
        return data

    def forget(self, agents: Iterable[str]) -> list[int]:
        """Delete what only these agents stored, and return the sizes in bytes of what was deleted."""
        marks, sizes = set(map(_mark, agents)), list[int]()
        for folder in self._folder.glob("??"):
            with _locked(folder, fcntl.LOCK_EX):
                marked = [each for each in folder.iterdir() if each.suffix]
                others = {each.stem for each in marked if each.suffix not in marks}
                for each in marked:
                    if each.suffix not in marks:
                        continue
                    artifact = each.with_suffix("")
                    if each.stem not in others and artifact.exists():
                        sizes.append(artifact.stat().st_size)
                        artifact.unlink()
                    # Last, so that an attempt that is killed before finds the artifact again.
                    each.unlink()
        return sizes

    def _path(self, ref: ArtifactRef) -> Path:
        return self._folder / ref.sha256[:2] / ref.sha256


def _mark(agent: str) -> str:
    return f".{digest_bytes(agent.encode())[:32]}"


@contextlib.contextmanager
def _locked(folder: Path, how: int) -> Iterator[None]:
    """Keep storing and deleting an artifact from overlapping."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("a") as file:
        fcntl.flock(file, how)
        yield


def write_atomically(
    path: Path, data: bytes | Iterable[bytes], mode: int = 0o600, *, replace: bool = True
) -> None:
    """Write ``data`` to ``path`` atomically and durably: fsync a temporary file, rename it, fsync the folder.

    Raises:
        FileExistsError: ``path`` exists, and ``replace`` is False.
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
            # Of several that try at once, only one can make the link; a rename would succeed for all.
            os.link(temporary, path)
            os.unlink(temporary)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Fsync ``folder``, so that a rename in it survives a power failure."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
