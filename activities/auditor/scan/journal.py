"""What a scan has done so far, kept in the object store, so that a killed scan resumes on any worker.

A journal is the unfinished result: one object per finished batch, named after its position in the listing,
with a ``FileFindings`` line per file. An attempt that Temporal has given up on may still be running. No lock
is needed: an object appears whole and is not replaced, so if two attempts scan the same batch, the second
takes the first one's result, and both end with the same bytes. Each attempt also leaves an object
`attempt-NUMBER`, which says at which file it resumed.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from pydantic import ValidationError

from activities.auditor.records import FileFindings
from activities.scratch import scratch_folder
from common.agent_objects import work_prefix
from common.digest import digest_bytes
from common.object_store import ObjectMissingError, ObjectStore

SCANS, LISTINGS = "scan/", "listing/"


class ScanJournal:
    """The journal of one scan of one agent; ids may be any text."""

    def __init__(self, objects: ObjectStore, workflow_id: str, scan_id: str) -> None:
        self._objects = objects
        self._prefix = f"{work_prefix(workflow_id, SCANS)}{digest_bytes(scan_id.encode())[:32]}/"
        self._batches: list[bytes] = []
        self._done = 0

    def resume(self, paths: Sequence[str], attempt: int) -> int:
        """Return how many of `paths` are done, and delete whatever follows the last valid batch of them."""
        listed = [each.key for each in self._objects.list(f"{self._prefix}batch-")]
        while listed:
            batch = self._stored_batch(listed[0], paths[self._done :])
            if not batch:
                break
            self._take(batch)
            del listed[0]
        self._objects.delete(listed)
        progress = json.dumps({"attempt": attempt, "resumed_at": self._done})
        self._objects.put(f"{self._prefix}attempt-{attempt:04}", progress.encode())
        return self._done

    def append(self, records: Sequence[FileFindings]) -> None:
        """Add a finished batch; it is in the store when this returns."""
        data = b"".join(record.model_dump_json().encode() + b"\n" for record in records)
        key = self._key()
        if not self._objects.put(key, data, if_absent=True):
            stored = self._stored_batch(key, [record.path for record in records])
            if not stored:
                self._objects.put(key, data)
            data = stored or data
        self._take(data)

    def read(self) -> bytes:
        """The whole journal."""
        return b"".join(self._batches)

    def _key(self) -> str:
        return f"{self._prefix}batch-{self._done:08}"

    def _take(self, batch: bytes) -> None:
        self._batches.append(batch)
        self._done += batch.count(b"\n")

    def _stored_batch(self, key: str, paths: Sequence[str]) -> bytes:
        """The stored batch of that key; empty if it is missing or does not cover the first of `paths`."""
        try:
            batch = self._objects.get(key) if key == self._key() else b""
            told = [FileFindings.model_validate_json(line).path for line in batch.splitlines()]
        except (ObjectMissingError, ValidationError):
            return b""
        return batch if told == list(paths[: len(told)]) else b""


@contextlib.contextmanager
def listing_file(
    objects: ObjectStore, workflow_id: str, listing_id: str
) -> Iterator[tuple[Path, Callable[[], None]]]:
    """A file for a `ListingJournal`, as an earlier attempt left it, and a function that saves it.

    The listing process writes to the file; saving copies it to the store. Losing it costs only time.
    """
    key = f"{work_prefix(workflow_id, LISTINGS)}{digest_bytes(listing_id.encode())[:32]}"
    with scratch_folder() as folder:
        file, kept = folder / "journal", 0
        with contextlib.suppress(ObjectMissingError):
            kept = file.write_bytes(objects.get(key))

        def keep() -> None:
            nonlocal kept
            size = file.stat().st_size if file.exists() else 0
            # Copied each time its size has doubled, all copies together are at most twice its size.
            if size >= max(2 * kept, kept + 1):
                kept = len(data := file.read_bytes())
                objects.put(key, data)

        yield file, keep
        objects.delete([key])
