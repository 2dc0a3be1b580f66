"""Lists what there is to audit: every text file below a folder, with digest, size and language."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any

from temporalio import activity

from activities.auditor.records import FileEntry, Inventory, InventoryRequest, SkippedFile, put_records
from activities.auditor.scan.journal import listing_file
from activities.auditor.scan.listing import CannotListError, Listing, answer
from activities.isolated_call import LimitsExceededError, ProcessLimits, run_isolated
from common.agents.agent import Progress
from common.artifacts import ArtifactStore
from common.errors import permanent
from common.object_store import ObjectStore

# A tree of 100,000 files with a thousand gitignore rules takes a minute and 300 MB; slow disks take longer.
LIMITS = ProcessLimits(memory=2 * 1024**3, cpu_seconds=300, seconds=3600.0)

Lister = Callable[[dict[str, Any], Callable[[int], None]], Listing]


def list_isolated(request: dict[str, Any], heartbeat: Callable[[int], None]) -> Listing:
    """`list_files` in a separate process with limits, so that no tree keeps this one busy.

    Raises:
        CannotListError: also of the kind `TreeTooCostly`.
    """
    try:
        result = run_isolated(answer, request, LIMITS, lambda: heartbeat(0))
    except LimitsExceededError as error:
        raise CannotListError(
            "TreeTooCostly",
            f"listing {request['root']} went over its limits ({error}): give a folder with fewer files, or "
            "with fewer rules in its .gitignore files",
        ) from None
    if "error" in result:
        raise CannotListError(*result["error"])
    return Listing(**result)


class CodeInventory:
    """The activity that takes an inventory; its lists go to `artifacts`.

    Args:
        artifacts: where the lists go.
        lister: walks the folder.
        objects: where a listing keeps its progress in case it is killed; with None it keeps none.
    """

    def __init__(
        self, artifacts: ArtifactStore, lister: Lister = list_isolated, objects: ObjectStore | None = None
    ) -> None:
        self._artifacts = artifacts
        self._lister = lister
        self._objects = objects

    @activity.defn(name="take_inventory")
    def take_inventory(self, request: InventoryRequest) -> Inventory:
        """List the files under a folder, sorted by the bytes of their paths.

        In a git checkout, ignored files are left out silently; everything else that is not read is counted
        and named. Links are never followed.

        Raises:
            ApplicationError: PathMissing, NotAFolder, PathUnreadable, PatternMalformed, TreeTooLarge,
                TooManyRules, TreeTooCostly; none is retried.
        """
        try:
            found = self._listed(request.model_dump(mode="json"))
        except CannotListError as error:
            raise permanent(error.kind, str(error)) from None
        entries = [
            FileEntry(path=path, sha256=sha256, size=size, language=language, packages=packages)
            for path, sha256, size, language, packages in found.entries
        ]
        skipped = [SkippedFile(path=path, reason=reason) for path, reason in found.skipped]
        return Inventory(
            root=found.root,
            listing=put_records(self._artifacts, entries),
            files=len(entries),
            bytes=sum(entry.size for entry in entries),
            languages=_counted(entry.language for entry in entries),
            skipped=_counted(entry.reason for entry in skipped),
            left_out=put_records(self._artifacts, skipped),
        )

    def _listed(self, request: dict[str, Any]) -> Listing:
        def heartbeat(done: int) -> None:
            activity.heartbeat(Progress(done=done))

        if self._objects is None:
            return self._lister(request, heartbeat)
        info = activity.info()
        id = f"{info.workflow_run_id} {info.activity_id}"
        with listing_file(self._objects, info.workflow_id or "", id) as (file, keep):

            def keep_on(done: int) -> None:
                keep()
                heartbeat(done)

            return self._lister(request | {"journal": str(file)}, keep_on)


def _counted(words: Iterable[str]) -> dict[str, int]:
    return dict(sorted(Counter(words).items()))
