"""Scans a slice of an inventory with every analyser; killed at any moment, it resumes after the last batch.

Analysers read copies of files in a temporary folder; the worker's disk holds nothing that matters.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path

from temporalio import activity

from activities.auditor.records import (
    FAILED_RULE,
    FileEntry,
    FileFindings,
    ScanRequest,
    ShardFindings,
    get_records,
)
from activities.auditor.scan.analyse import analyse
from activities.auditor.scan.journal import LISTINGS, SCANS, ScanJournal
from activities.calls.handover import hand_over
from activities.safe_files import PathSkippedError, read_inside
from activities.scratch import scratch_folder
from common.agent_objects import delete_work
from common.agents.agent import Progress
from common.artifacts import ArtifactStore
from common.digest import digest_bytes
from common.errors import permanent
from common.object_store import ObjectStore

# A kill costs at most one batch. The secrets analyser needs 0.4 s to start and reads about 1 MB/s.
BATCH_FILES = 200
BATCH_BYTES = 2_000_000
# Each further attempt divides the batches, at most by this. Otherwise, where workers die before they finish a
# whole batch on a busy machine, a scan would begin the same batch forever.
SMALLEST_PART = 8
# A file that has grown past this, and past double its size, since the inventory counts as gone.
_GROWN_BYTES = 16_000_000


class CodeScan:
    """The scanning activity: results go to `artifacts`, work in progress to `objects`."""

    def __init__(self, artifacts: ArtifactStore, objects: ObjectStore) -> None:
        self._artifacts = artifacts
        self._objects = objects

    @activity.defn(name="scan_shard")
    def scan_shard(self, request: ScanRequest) -> ShardFindings:
        """Scan entries `first` to `last` of a listing; interrupted or not, the result is the same bytes.

        A worker that is shutting down hands the rest over after the current batch.

        A file is scanned as it is now, and its digest is that of what was scanned; one that is gone, or no
        longer a regular file below the root, has the digest "" and no findings. Heartbeats carry a
        ``Progress`` in files; a file that an analyser fails on has a finding that says so.

        Raises:
            ApplicationError: types AnalyserMissing, ArtifactMissing, ArtifactDamaged, PathMissing.
        """
        listing = get_records(self._artifacts, request.listing, FileEntry)
        entries = list(islice(listing, request.first, request.last))
        info = activity.info()
        done, total = 0, len(entries)

        def heartbeat() -> None:
            activity.heartbeat(Progress(done=done, total=total))

        # The run is part of the name, so that a later agent with this id does not see these findings.
        scan_id = f"{info.workflow_run_id} {info.activity_id}"
        journal = ScanJournal(self._objects, info.workflow_id or "", scan_id)
        done = journal.resume([entry.path for entry in entries], info.attempt)
        for batch in _batches(entries[done:], min(info.attempt, SMALLEST_PART)):
            hand_over()
            heartbeat()
            with scratch_folder() as copies:
                files = _copied(Path(request.root), batch, copies)
                languages = {entry.path: entry.language for entry in batch if files[entry.path]}
                found = analyse(copies, languages, heartbeat)
            journal.append(
                [
                    FileFindings(path=path, sha256=sha256, findings=found.get(path, []))
                    for path, sha256 in files.items()
                ]
            )
            done += len(batch)
        heartbeat()
        return self._result(journal.read())

    def clear_journals(self, workflow_id: str) -> None:
        """Delete the journals of an agent's scans and listings; results stay in the artifacts."""
        for what in (SCANS, LISTINGS):
            delete_work(self._objects, workflow_id, what)

    def _result(self, lines: bytes) -> ShardFindings:
        files, failures, by_severity = 0, 0, Counter[str]()
        for line in lines.splitlines():
            record = FileFindings.model_validate_json(line)
            files += 1
            by_severity.update(finding.severity for finding in record.findings)
            failures += sum(finding.rule == FAILED_RULE for finding in record.findings)
        return ShardFindings(
            findings=self._artifacts.put(lines),
            files=files,
            by_severity=dict(sorted(by_severity.items())),
            failures=failures,
        )


def _batches(entries: Sequence[FileEntry], part: int) -> Iterator[list[FileEntry]]:
    batch: list[FileEntry] = []
    size = 0
    for entry in entries:
        if batch and (len(batch) >= BATCH_FILES // part or size + entry.size > BATCH_BYTES // part):
            yield batch
            batch, size = [], 0
        batch.append(entry)
        size += entry.size
    if batch:
        yield batch


def _copied(root: Path, batch: Sequence[FileEntry], folder: Path) -> dict[str, str]:
    """Copy a batch's files into `folder` and return the digest of each, empty for one that is not there.

    Analysers read the copies: they see exactly the bytes of the digest, and no link or pipe that replaces a
    file meanwhile can lead them elsewhere.
    """
    digests = {}
    for entry in batch:
        try:
            data = read_inside(root, entry.path, max(2 * entry.size, _GROWN_BYTES))
        except PathSkippedError:
            if not root.is_dir():
                raise permanent("PathMissing", f"the folder {root} disappeared during the scan") from None
            digests[entry.path] = ""
            continue
        copy = folder / entry.path
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(data)
        digests[entry.path] = digest_bytes(data)
    for entry in batch:
        if digests[entry.path]:
            # What is found in a file must not depend on which others happen to be in its batch.
            for package in list((folder / entry.path).parents)[: entry.packages]:
                (package / "__init__.py").touch()
    return digests
