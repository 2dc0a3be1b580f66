"""Plans fixes: lets ruff fix copies of the files with fixable findings, and proves the fixes there.

The audited tree is only read. The copies are untrusted: separate processes read and run them, and a file that
crashes one is left out of the plan.
"""

from __future__ import annotations

from itertools import islice

from temporalio import activity

from activities.auditor.current_findings import CurrentFindings
from activities.auditor.fix.diff import diff_file
from activities.auditor.fix.files import read_file
from activities.auditor.fix.proof import Prover
from activities.auditor.fix.tree_copy import TreeCopy
from activities.auditor.records import FileFindings, PlannedFix, PlanRequest, put_records
from activities.safe_files import PathSkippedError
from activities.scratch import scratch_folder
from common.agents.agent import Progress
from common.agents.auditor import FilePreview, FixPlan
from common.approval.floors import Floors
from common.artifacts import ArtifactStore
from common.digest import digest_bytes

BATCH = 100  # files per process: even with the longest paths, well under the limit of an argument list
PREVIEWED = 100
LARGEST = 64_000_000  # bytes; scans stop earlier


class FixPlanner:
    """Plans fixes; the contents before and after, the listing and the diff go to `artifacts`.

    `floors` say for whom the project's code may be run.
    """

    def __init__(self, artifacts: ArtifactStore, floors: Floors) -> None:
        self._artifacts = artifacts
        self._floors = floors

    @activity.defn(name="plan_fixes")
    def plan_fixes(self, request: PlanRequest) -> FixPlan:
        """The safe fixes for all fixable findings. The same findings and files give the same plan.

        Left out are files that changed since the scan, fixes that would break a file that parsed, files that
        ruff cannot handle, and what the proof rules out. `rules` counts the findings that are gone when the
        fixed copy is linted.
        """
        rule = self._floors.rule(activity.info().workflow_type or "", request.owner)
        skip = set(request.skip)
        findings = CurrentFindings(self._artifacts, request.findings, lambda: activity.heartbeat(Progress()))
        known = {file.path: file for file in findings if file.path not in skip and _fixable_rules(file)}
        fixable = {path: _fixable_rules(file) for path, file in known.items()}
        fixes: list[PlannedFix] = []
        diffs: dict[str, bytes] = {}
        done = 0

        def heartbeat() -> None:
            activity.heartbeat(Progress(done=done, total=len(fixable)))

        with scratch_folder() as temporary:
            tree_copy = TreeCopy(temporary.resolve(), request.root, heartbeat)
            prover = Prover(tree_copy, self._artifacts, runs_code=rule.runs_project_code == "allowed")
            copies = prover.copies(fixable, heartbeat) if fixable else None
            paths = iter(fixable)
            while copies and (batch := list(islice(paths, BATCH))):
                contents = {path: data for path in batch if (data := _as_scanned(request.root, known[path]))}
                for fixed in copies.fix(contents):
                    diff = diff_file(fixed.path, fixed.before, fixed.after)
                    diffs[fixed.path] = diff.text
                    fixes.append(
                        PlannedFix(
                            path=fixed.path,
                            before=self._artifacts.put(fixed.before),
                            after=self._artifacts.put(fixed.after),
                            rules=fixed.rules,
                            lines_added=diff.lines_added,
                            lines_removed=diff.lines_removed,
                        )
                    )
                    heartbeat()
                done += len(batch)
                heartbeat()
            fixes = prover.prove(fixes, request.verify)
        return FixPlan(
            root=request.root,
            files=len(fixes),
            fixes=sum(sum(fix.rules.values()) for fix in fixes),
            preview=tuple(FilePreview.model_validate(fix, from_attributes=True) for fix in fixes[:PREVIEWED]),
            listing=put_records(self._artifacts, fixes),
            diff=self._artifacts.put(b"".join(diffs[fix.path] for fix in fixes)),
            proof=tuple(prover.words),
        )


def _fixable_rules(file: FileFindings) -> set[str]:
    return {finding.rule for finding in file.findings if finding.analyser == "ruff" and finding.fixable}


def _as_scanned(root: str, file: FileFindings) -> bytes | None:
    """The content of ``file`` if it is still the one that was scanned."""
    try:
        data = read_file(root, file.path, LARGEST)
    except PathSkippedError:
        return None
    return data if digest_bytes(data) == file.sha256 else None
