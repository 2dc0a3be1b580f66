"""A tree with flawed files, its plan of fixes, and approvals for it: shared by the tests of fixing.

As a program it applies one request in its own process, which a test may kill or restrict.
"""

from __future__ import annotations

import dataclasses
import json
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from temporalio.testing import ActivityEnvironment

from activities.auditor.fix import journal
from activities.auditor.fix.apply import FixApplier
from activities.auditor.fix.diff import diff_file
from activities.auditor.fix.journal import JournalLine
from activities.auditor.fix.plan import FixPlanner
from activities.auditor.records import (
    AppliedFix,
    ApplyRequest,
    ApplyResult,
    ChangedRequest,
    FileFindings,
    PlannedFix,
    PlanRequest,
    get_records,
    put_records,
)
from activities.auditor.scan.analyse import analyse
from activities.auditor.scan.analysers import ANALYSERS
from common.agents.auditor import FixPlan
from common.approval.groups import Directory
from common.approval.signing import Authority, Signer
from common.approval.types import ApprovalPolicy, Authorization, Decision, Verdict, Vote
from common.artifacts import ArtifactRef, ArtifactStore
from common.digest import digest, digest_bytes
from common.key_ring import KeyRing
from common.object_store import FolderStore
from tests.support.floors import floors

REPOSITORY = Path(__file__).parents[3]
RUFF = tuple(analyser for analyser in ANALYSERS if analyser.name == "ruff")
RING = Signer(KeyRing.of({"test": bytes(range(32))}))
AGENT = ActivityEnvironment().info.workflow_id or ""
NOW = datetime.now(UTC)

FLAWED = b"import os\nimport sys\n\nprint(sys.path)\n"
MENDED = b"import sys\n\nprint(sys.path)\n"


class World:
    """The tree `root` and everything that belongs to it, in one folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.root = folder / "root"
        self.root.mkdir(parents=True)
        self.store = ArtifactStore(FolderStore(folder / "artifacts"))
        self.objects = FolderStore(folder / "journals")

    def write(self, path: str, data: bytes = FLAWED, mode: int = 0o644) -> Path:
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data)
        file.chmod(mode)
        return file

    def content(self) -> dict[str, bytes]:
        """All files of the tree, including temporary ones."""
        files = (file for file in self.root.rglob("*") if file.is_file())
        return {file.relative_to(self.root).as_posix(): file.read_bytes() for file in files}

    def scan(self, paths: Iterable[str] = ()) -> list[FileFindings]:
        """Ruff's findings in these files, or in the whole tree if none are named."""
        content = {path: (self.root / path).read_bytes() for path in paths} or self.content()
        found = analyse(self.root, dict.fromkeys(content, "python"), lambda: None, analysers=RUFF)
        return [
            FileFindings(path=path, sha256=digest_bytes(data), findings=found[path])
            for path, data in content.items()
        ]

    def plan(
        self,
        scanned: list[FileFindings] | None = None,
        planner: FixPlanner | None = None,
        **options: Any,
    ) -> FixPlan:
        findings = put_records(self.store, self.scan() if scanned is None else scanned)
        request = PlanRequest(root=str(self.root), findings=[findings], **options)
        planner = planner or FixPlanner(self.store, floors())
        return ActivityEnvironment().run(planner.plan_fixes, request)

    def planned(self, contents: dict[str, tuple[bytes, bytes]]) -> FixPlan:
        """A plan made without ruff, from files' contents before and after."""
        fixes, diffs = [], []
        for path, (before, after) in sorted(contents.items()):
            self.write(path, before)
            diff = diff_file(path, before, after)
            diffs.append(diff.text)
            fix = {
                "path": path,
                "before": self.store.put(before),
                "after": self.store.put(after),
                "rules": {"F401": 1},
                "lines_added": diff.lines_added,
                "lines_removed": diff.lines_removed,
            }
            fixes.append(PlannedFix.model_validate(fix))
        return FixPlan(
            root=str(self.root),
            files=len(fixes),
            fixes=len(fixes),
            preview=(),
            listing=put_records(self.store, fixes),
            diff=self.store.put(b"".join(diffs)),
        )

    def listing(self, plan: FixPlan) -> dict[str, PlannedFix]:
        return {fix.path: fix for fix in get_records(self.store, plan.listing, PlannedFix)}

    def changed(self, plan: FixPlan) -> list[str]:
        applier = FixApplier(self.store, authority(), self.objects)
        return ActivityEnvironment().run(applier.changed_files, ChangedRequest(plan=plan)).paths

    def apply(self, plan: FixPlan, word: Authorization | None, attempt: int = 1) -> ApplyResult:
        applier = FixApplier(self.store, authority(), self.objects)
        environment = ActivityEnvironment()
        environment.info = dataclasses.replace(environment.info, attempt=attempt)
        return environment.run(applier.apply_fixes, ApplyRequest(plan=plan, authorization=word))

    def process(self, plan: FixPlan, **options: Any) -> subprocess.Popen[bytes]:
        """Apply `plan` in a separate process; see ``main`` for the options."""
        request = ApplyRequest(plan=plan, authorization=authorized(plan))
        told = {"folder": str(self.folder), "request": request.model_dump(mode="json"), **options}
        command = [sys.executable, "-m", "tests.support.auditor.fix_world", json.dumps(told)]
        return subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE)

    def details(self, result: ApplyResult) -> dict[str, tuple[str, str]]:
        records = get_records(self.store, result.details, AppliedFix)
        return {record.path: (record.outcome, record.reason) for record in records}

    def journal(self) -> list[JournalLine]:
        """Every step, in the order they were written."""
        steps = sorted(self.objects.list(""), key=lambda each: each.written_at)
        return [JournalLine.model_validate_json(self.objects.get(each.key)) for each in steps]

    def done(self) -> list[str]:
        return [line.path for line in self.journal() if line.event == "done"]

    def patch(self, diff: ArtifactRef, *command: str) -> None:
        """Run `command` in the root with a diff on its standard input."""
        subprocess.run(command, cwd=self.root, input=self.store.get(diff), check=True, capture_output=True)


def authorized(plan: FixPlan, edits: dict[str, Any] | None = None, **changes: Any) -> Authorization:
    """A valid authorization of `plan`, signed after `changes` to the decision."""
    shown = plan.model_dump(mode="json")
    fields = {
        "id": "d1",
        "request_id": "r1",
        "digest": digest(shown),
        "verdict": Verdict.REVISE if edits else Verdict.APPROVE,
        "edits": edits or {},
        "by": "ann",
        **changes,
    }
    decision = RING.sign(Decision.model_validate(fields), AGENT, NOW)
    try:
        edited = FixPlan.model_validate({**shown, **(edits or {})})
    except ValidationError:
        edited = plan
    vote = Vote(decision=decision, replaced={field: shown[field] for field in edits or {}})
    policy = ApprovalPolicy(approvers=("ann",), editable=tuple(edits or ()))
    key = f"{AGENT}:apply:{digest(edited)}"
    return Authorization(votes=(vote,), policy=policy, requester="owner", key=key)


def authority(signer: Signer = RING, *, accept_unsigned: bool = False) -> Authority:
    """An authority that knows no groups."""
    return Authority(signer, Directory(Path("no-such-file")), floors(), accept_unsigned=accept_unsigned)


def _kill_self(*_: object, **__: object) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _stall_after(files: int) -> None:
    finish, left = journal.FixJournal.finish, iter(range(files))

    def stalling(*arguments: Any) -> None:
        finish(*arguments)
        if next(left, None) is None:
            time.sleep(600)

    journal.FixJournal.finish = stalling  # type: ignore[method-assign]


def main(told: dict[str, Any]) -> None:
    """Apply `request` in `folder`.

    Options: `uid`, the user to become; `file_bytes`, the largest file this process may write; `die`, where to
    be killed: `before rename` (the new content is in a temporary file) or `after rename` (not yet recorded as
    done); `stalls_after`, how many files it writes before it hangs, so that it can be killed in the middle.
    """
    folder = Path(told["folder"])
    request = ApplyRequest.model_validate(told["request"])
    if told.get("die") == "before rename":
        os.replace = _kill_self
    if told.get("die") == "after rename":
        journal.FixJournal.finish = _kill_self  # type: ignore[method-assign]
    if files := told.get("stalls_after"):
        _stall_after(files)
    if limit := told.get("file_bytes"):
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    if uid := told.get("uid"):
        os.setgroups([])
        os.setgid(uid)
        os.setuid(uid)
    applier = FixApplier(
        ArtifactStore(FolderStore(folder / "artifacts")), authority(), FolderStore(folder / "journals")
    )
    print(ActivityEnvironment().run(applier.apply_fixes, request).model_dump_json())


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
