"""Keeps the findings of each file, so that the next audit of the same tree scans only what has changed.

What the analysers find in a file is a function of its path, its content, the packages it lies in and the
analysers themselves. These form the key of a result, so a change to another file does not invalidate it.
Losing what is kept here costs only time.
"""

from __future__ import annotations

import gzip
import io
import logging
import platform
import zlib
from collections.abc import Iterator
from functools import cache
from importlib.metadata import version
from itertools import islice
from pathlib import Path

from pydantic import JsonValue
from temporalio import activity

from activities.auditor.records import FAILED_RULE, FileEntry, FileFindings, get_records, put_records
from activities.auditor.scan import analyse, analysers, programs
from activities.auditor.scan.records import KeepRequest, Kept, Recalled, RecallRequest, Tree
from common.agents.agent import Progress
from common.artifacts import ArtifactRef, ArtifactStore
from common.digest import digest, digest_bytes
from common.object_store import ObjectMissingError, ObjectStore
from common.owner_cache import owner_cache_prefix

log = logging.getLogger(__name__)

# A tree of 50,000 files with 300,000 findings takes 10 MB compressed. What does not fit is scanned again.
MAX_BYTES = 64_000_000
# Per owner; the least recently updated ones are deleted.
MAX_TREES = 20
_FILES_PER_ARTIFACT = 5000
_HEARTBEAT_EVERY = 500
_KEY_CHARACTERS = 64


class ResultCache:
    """The activities that keep and recall results; `objects` holds one object per owner and tree."""

    def __init__(self, artifacts: ArtifactStore, objects: ObjectStore) -> None:
        self._artifacts, self._objects = artifacts, objects

    @activity.defn(name="recall_results")
    def recall(self, request: RecallRequest) -> Recalled:
        """Return the known findings in the files of a listing, and the listing of the files still to scan."""
        unknown = {key_of(entry): entry for entry in self._entries(request.listing)}
        files, findings = len(unknown), []
        found = self._found(request.tree, unknown)
        while part := list(islice(found, _FILES_PER_ARTIFACT)):
            findings.append(self._artifacts.put(b"".join(part)))
        rest = put_records(self._artifacts, unknown.values())
        return Recalled(findings=findings, known=files - len(unknown), rest=rest, left=len(unknown))

    @activity.defn(name="keep_results")
    def keep(self, request: KeepRequest) -> Kept:
        """Keep the findings in the files of a listing, replacing what was kept for their tree."""
        keys = {entry.path: (entry.sha256, key_of(entry)) for entry in self._entries(request.listing)}
        packed, files = io.BytesIO(), 0
        with gzip.GzipFile(fileobj=packed, mode="wb", compresslevel=3, mtime=0) as file:
            for line in self._lines(request.findings):
                record = FileFindings.model_validate_json(line)
                sha256, key = keys.get(record.path, ("", ""))
                # Not kept: files that changed during the scan, and failures, so that they are tried again.
                if record.sha256 == sha256 and _is_sound(record) and packed.tell() < MAX_BYTES:
                    file.write(b"%s %s\n" % (key.encode(), line))
                    files += 1
        self._objects.put(_object_key(request.tree), packed.getvalue())
        self._tidy(request.tree.owner)
        return Kept(files=files, bytes=packed.tell())

    def _found(self, tree: Tree, unknown: dict[str, FileEntry]) -> Iterator[bytes]:
        """The kept lines of the files in `unknown` (by key); each file found is removed from it."""
        try:
            packed = self._objects.get(_object_key(tree))
        except ObjectMissingError:
            return
        try:
            with gzip.open(io.BytesIO(packed)) as file:
                for number, line in enumerate(file):
                    if number % _HEARTBEAT_EVERY == 0:
                        activity.heartbeat(Progress())
                    key = line[:_KEY_CHARACTERS].decode()
                    entry = unknown.get(key)
                    if entry is None:
                        continue
                    record = FileFindings.model_validate_json(line[_KEY_CHARACTERS:])
                    if (record.path, record.sha256) == (entry.path, entry.sha256):
                        del unknown[key]
                        yield line[_KEY_CHARACTERS + 1 :]
        except (OSError, EOFError, zlib.error, ValueError) as error:
            log.warning("what was kept of a tree cannot be read further: %s", type(error).__name__)

    def _entries(self, listing: ArtifactRef) -> Iterator[FileEntry]:
        for number, entry in enumerate(get_records(self._artifacts, listing, FileEntry)):
            if number % _HEARTBEAT_EVERY == 0:
                activity.heartbeat(Progress())
            yield entry

    def _lines(self, findings: list[ArtifactRef]) -> Iterator[bytes]:
        for ref in findings:
            activity.heartbeat(Progress())
            yield from self._artifacts.get(ref).splitlines()

    def _tidy(self, owner: str) -> None:
        """Delete the results of the owner's least recently updated trees."""
        kept = sorted(self._objects.list(_folder(owner)), key=lambda each: each.written_at)
        self._objects.delete([each.key for each in kept[:-MAX_TREES]])


def key_of(entry: FileEntry) -> str:
    """The digest of everything that the findings in a file depend on."""
    return digest([_checks(entry.language), entry.path, entry.sha256, entry.packages])


@cache
def _checks(language: str) -> list[JsonValue]:
    """How files of a language are checked: with which programs, and with which code of ours around them."""
    used: list[JsonValue] = [
        f"{each.name} {version(each.package)}"
        for each in analysers.ANALYSERS
        if analyse.takes(each, language)
    ]
    ours = b"".join(Path(file).read_bytes() for file in _OURS)
    return [language, *used, platform.python_version(), digest_bytes(ours)]


_OURS = (analyse.__file__, analysers.__file__, programs.__file__, analysers.SECRETS_PROGRAM)


def _is_sound(record: FileFindings) -> bool:
    return bool(record.sha256) and all(finding.rule != FAILED_RULE for finding in record.findings)


def _folder(owner: str) -> str:
    return f"{owner_cache_prefix(owner)}auditor/"


def _object_key(tree: Tree) -> str:
    return f"{_folder(tree.owner)}{digest(tree)}.gz"
