"""The chain of manifests: what the archive holds, and whether it is still what was written.

Each manifest names the objects that were added with their SHA-256, those removed, and the SHA-256 of the
previous manifest, so the newest one vouches for the whole archive. Its number and digest, the head, are also
stored in Temporal (`anchor.py`), which reveals a bucket that was restored to an older state.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from pydantic import ValidationError

from common.archive.layout import (
    AGENTS,
    INDEX,
    MANIFESTS,
    RECORD,
    ArchivedObject,
    ArchiveRecord,
    Head,
    Manifest,
    manifest_key,
    number_of,
)
from common.digest import digest_bytes
from common.object_store import ObjectMissingError, ObjectStore


class ArchiveDamagedError(Exception):
    """An object of the archive is not what was written; the message names it and says what is wrong."""


def get_checked(objects: ObjectStore, wanted: ArchivedObject) -> bytes:
    """The verified bytes of an archived object.

    Raises:
        ArchiveDamagedError: it is missing, truncated or changed.
        StoreUnavailableError: the store cannot be read now.
    """
    try:
        data = objects.get(wanted.key)
    except ObjectMissingError:
        raise ArchiveDamagedError(f"{wanted.key} is missing") from None
    if len(data) != wanted.size:
        raise ArchiveDamagedError(f"{wanted.key} has {len(data)} bytes and not {wanted.size}")
    if digest_bytes(data) != wanted.sha256:
        raise ArchiveDamagedError(f"{wanted.key} was changed")
    return data


def put_checked(objects: ObjectStore, key: str, data: bytes) -> ArchivedObject:
    """Write an object and read it back.

    Raises:
        ArchiveDamagedError: what is read is not what was written.
    """
    written = ArchivedObject(key=key, size=len(data), sha256=digest_bytes(data))
    objects.put(key, data)
    get_checked(objects, written)
    return written


class Chain:
    """The manifests in an object store. The methods block."""

    def __init__(self, objects: ObjectStore) -> None:
        self._objects = objects

    def head(self) -> tuple[Head, Manifest | None]:
        """The head and the newest manifest; number 0 and None if there is none yet.

        Raises:
            ArchiveDamagedError: the manifest cannot be read.
        """
        keys = [each.key for each in self._objects.list(MANIFESTS)]
        if not keys:
            return Head(), None
        return self.read(max(keys))

    def holds(self, anchor: Head) -> bool:
        """Whether the chain still has the manifest that once was its head."""
        if not anchor.number:
            return True
        try:
            head, _ = self.read(manifest_key(anchor.number))
        except (ArchiveDamagedError, ObjectMissingError):
            return False
        return head == anchor

    def append(self, manifest: Manifest) -> Head:
        """Write the next manifest and read it back.

        Raises:
            ArchiveDamagedError: there is a different one with that number already.
        """
        data = manifest.model_dump_json().encode()
        key = manifest_key(manifest.number)
        self._objects.put(key, data, if_absent=True)
        written = ArchivedObject(key=key, size=len(data), sha256=digest_bytes(data))
        get_checked(self._objects, written)
        return Head(number=manifest.number, sha256=written.sha256)

    def all(self) -> Iterator[tuple[Head, Manifest]]:
        """Every manifest, oldest first.

        Raises:
            ArchiveDamagedError: one cannot be read.
        """
        for each in self._objects.list(MANIFESTS):
            yield self.read(each.key)

    def read(self, key: str) -> tuple[Head, Manifest]:
        """The manifest with that key, and its number and digest.

        Raises:
            ArchiveDamagedError: it is not a valid manifest.
            ObjectMissingError: there is none.
        """
        data = self._objects.get(key)
        try:
            manifest = Manifest.model_validate_json(data)
            number = number_of(key)
        except ValueError:
            raise ArchiveDamagedError(f"{key} is not a manifest") from None
        if manifest.number != number:
            raise ArchiveDamagedError(f"{key} holds manifest {manifest.number}")
        return Head(number=number, sha256=digest_bytes(data)), manifest


@dataclass
class Verified:
    """What a verification found: flaws in words, numbers of intact objects and agents, the chain's head.

    `unsealed` counts objects of agents that no manifest names yet.
    """

    flaws: list[str] = field(default_factory=list)
    head: Head = field(default_factory=Head)
    objects: int = 0
    agents: int = 0
    unsealed: int = 0


def verify(objects: ObjectStore, anchor: Head | None) -> Verified:
    """Read the whole archive and compare it with its chain. Blocks for a long time.

    Args:
        objects: the archive's store.
        anchor: the head that Temporal stores; None if it stores none.

    Raises:
        StoreUnavailableError: the store cannot be read now.
    """
    found = Verified()
    live, going = _chained(objects, found)
    if anchor is None:
        if found.head.number:
            found.flaws.append("Temporal stores no head of the chain, so it may have been cut short")
    elif not Chain(objects).holds(anchor):
        found.flaws.append(
            f"manifest {anchor.number}, which Temporal stores as the head, is missing or changed: "
            f"the archive was put back or cut short; its newest manifest is {found.head.number}"
        )
    known = set(live) | going
    for each in live.values():
        known |= _check(objects, each, found)
    for listed in objects.list(INDEX):
        if listed.key not in known:
            found.flaws.append(f"{listed.key} is in no manifest")
    found.unsealed = sum(each.key not in known for each in objects.list(AGENTS))
    return found


def _chained(objects: ObjectStore, found: Verified) -> tuple[dict[str, ArchivedObject], set[str]]:
    """The objects that should be there, and the keys of those that may be being deleted right now."""
    chain, live, going = Chain(objects), dict[str, ArchivedObject](), set[str]()
    manifests: list[tuple[Head, Manifest]] = []
    for listed in objects.list(MANIFESTS):
        try:
            manifests.append(chain.read(listed.key))
        except (ArchiveDamagedError, ObjectMissingError) as error:
            found.flaws.append(str(error))
    for head, manifest in manifests:
        if manifest.number != found.head.number + 1:
            found.flaws.append(f"manifest {found.head.number + 1} is missing")
        elif manifest.previous != found.head.sha256:
            found.flaws.append(f"manifest {manifest.number} does not follow the one before")
        found.head = head
        live.update((each.key, each) for each in manifest.added)
        for key in manifest.removed:
            live.pop(key, None)
        going = set(manifest.removed)
    return live, going


def _check(objects: ObjectStore, wanted: ArchivedObject, found: Verified) -> set[str]:
    """Verify one object and, if it is a record, the objects it names, whose keys are returned."""
    try:
        data = get_checked(objects, wanted)
        found.objects += 1
        if not wanted.key.endswith(f"/{RECORD}"):
            return set()
        record = ArchiveRecord.model_validate_json(data)
    except (ArchiveDamagedError, ValidationError) as error:
        found.flaws.append(str(error))
        return set()
    found.agents += 1
    for each in record.objects:
        try:
            get_checked(objects, each)
            found.objects += 1
        except ArchiveDamagedError as error:
            found.flaws.append(str(error))
    return {each.key for each in record.objects}
