"""Writes approved fixes to the tree, the code auditor's only destructive activity, and checks them first."""

from __future__ import annotations

import os
from pathlib import Path

from pydantic import BaseModel
from temporalio import activity
from temporalio.exceptions import ApplicationError

from activities.auditor.fix.diff import diff_file
from activities.auditor.fix.files import folder_of, read_file, remove, swap_content
from activities.auditor.fix.journal import FixJournal, open_journal
from activities.auditor.records import (
    AppliedFix,
    ApplyRequest,
    ApplyResult,
    ChangedRequest,
    PlannedFix,
    UnprovenRequest,
    get_records,
    put_records,
)
from activities.safe_files import PathSkippedError
from common.agents.agent import Progress
from common.agents.auditor import FixPlan
from common.approval.signing import Authority
from common.approval.types import Authorization
from common.artifacts import ArtifactStore
from common.digest import digest_bytes
from common.errors import permanent
from common.object_store import ObjectStore

# The most names in a result, because results go into history; the artifact has the full list.
MAX_NAMED = 1000

WRITTEN, LEFT = "written", "left"
CHANGED = "changed since the approval"
SKIPPED = "left out by the approver"
ALREADY_SO = "already so"


class ChangedFiles(BaseModel, frozen=True):
    """The files that are not as approved, sorted: the first 1,000."""

    paths: list[str]


class UnprovenFiles(BaseModel, frozen=True):
    """The files whose fixes do not hold by themselves, sorted: the first 1,000."""

    paths: list[str]


class FixApplier:
    """The activities that touch the audited tree.

    Args:
        artifacts: holds plans and the contents that they write.
        authority: checks approvals.
        objects: holds a journal for each idempotency key.
        old_journals: the folder in which older versions kept them.
    """

    def __init__(
        self,
        artifacts: ArtifactStore,
        authority: Authority,
        objects: ObjectStore,
        old_journals: Path | None = None,
    ) -> None:
        self._artifacts = artifacts
        self._authority = authority
        self._objects = objects
        self._old_journals = old_journals

    @activity.defn(name="changed_files")
    def changed_files(self, request: ChangedRequest) -> ChangedFiles:
        """Which chosen files changed since the plan: now missing, a link, unreadable or different.

        They include paths in `skip` that the plan does not contain: those are misspelt, and the file that the
        approver meant to leave out would be written.
        """
        plan = request.plan
        skip = set(plan.skip)
        changed = []
        misspelt = set(skip)
        for done, fix in enumerate(get_records(self._artifacts, plan.listing, PlannedFix), 1):
            activity.heartbeat(Progress(done=done, total=plan.files))
            misspelt.discard(fix.path)
            if fix.path not in skip and not _is_as_planned(plan.root, fix):
                changed.append(fix.path)
        return ChangedFiles(paths=sorted({*changed, *misspelt})[:MAX_NAMED])

    @activity.defn(name="unproven_files")
    def unproven_files(self, request: UnprovenRequest) -> UnprovenFiles:
        """Which chosen files have another fix, or none, in the plan that was proven without those left out.

        Files that have changed since are not among them: people are asked about those anyway.
        """
        plan = request.plan
        proven = {
            fix.path: fix.after.sha256
            for fix in get_records(self._artifacts, request.proven.listing, PlannedFix)
        }
        unproven = []
        for done, fix in enumerate(get_records(self._artifacts, plan.listing, PlannedFix), 1):
            activity.heartbeat(Progress(done=done, total=plan.files))
            if (
                fix.path not in plan.skip
                and proven.get(fix.path) != fix.after.sha256
                and _is_as_planned(plan.root, fix)
            ):
                unproven.append(fix.path)
        return UnprovenFiles(paths=sorted(unproven)[:MAX_NAMED])

    @activity.defn(name="apply_fixes")
    def apply_fixes(self, request: ApplyRequest) -> ApplyResult:
        """Write the chosen fixes, each file whole or not at all, and none twice under one idempotency key.

        Returns:
            Everything this key wrote, including in earlier attempts. `conflicts` names the chosen files that
            others changed since the approval (sorted, the first 1,000); `details` says why a file was left.

        Raises:
            ApplicationError: type ``NotAuthorized`` or ``PolicyRefused``; nothing was touched.
        """
        plan = request.plan
        authorization = self._authorized(request)
        fixes = list(get_records(self._artifacts, plan.listing, PlannedFix))
        _check_skip(plan, authorization, fixes)
        results, info = [], activity.info()
        with open_journal(
            self._objects,
            info.workflow_id or "",
            authorization.key,
            info.attempt,
            plan.root,
            self._old_journals,
        ) as journal:
            attempt = _Attempt(self._artifacts, plan, authorization.key, journal)
            for done, fix in enumerate(fixes, 1):
                # A cancellation waits until this file is finished.
                with activity.shield_thread_cancel_exception():
                    results.append(attempt.settle(fix))
                activity.heartbeat(Progress(done=done, total=len(fixes)))
        written = {result.path for result in results if result.outcome == WRITTEN}
        conflicts = [result.path for result in results if result.reason == CHANGED]
        return ApplyResult(
            written=len(written),
            conflicts=sorted(conflicts)[:MAX_NAMED],
            details=put_records(self._artifacts, results),
            undo=self._artifacts.put(self._undo([fix for fix in fixes if fix.path in written])),
        )

    def _authorized(self, request: ApplyRequest) -> Authorization:
        """The authorization of ``request``, if it holds for exactly the plan given."""
        authorization = self._authority.authorize(request.authorization, request.plan, activity.info())
        if any(set(vote.decision.edits) - {"skip"} for vote in authorization.votes):
            raise permanent("NotAuthorized", "the decision edits more of the plan than `skip`")
        return authorization

    def _undo(self, written: list[PlannedFix]) -> bytes:
        diffs = []
        for fix in written:
            before, after = self._artifacts.get(fix.before), self._artifacts.get(fix.after)
            diffs.append(diff_file(fix.path, after, before).text)
            activity.heartbeat(Progress(done=len(diffs), total=len(written)))
        return b"".join(diffs)


class _Attempt:
    """One attempt at applying a plan."""

    def __init__(self, artifacts: ArtifactStore, plan: FixPlan, key: str, journal: FixJournal) -> None:
        self._artifacts = artifacts
        self._plan = plan
        self._skip = set(plan.skip)
        # Named after the key, so that a later attempt finds and removes what a killed one left behind.
        self._temporary = f".hibernaut-{digest_bytes(key.encode())[:16]}"
        self._journal = journal

    def settle(self, fix: PlannedFix) -> AppliedFix:
        """Write one file, or leave it and say why."""
        if self._journal.has_done(fix):
            return AppliedFix(path=fix.path, outcome=WRITTEN)  # whatever happened to it since
        if fix.path in self._skip:
            return AppliedFix(path=fix.path, outcome=LEFT, reason=SKIPPED)
        try:
            reason = self._write(fix)
        except PathSkippedError:
            reason = CHANGED
        except OSError as error:
            reason = error.strerror or str(error)
        except ApplicationError as error:
            if not error.non_retryable:
                raise  # another attempt has taken over
            reason = error.message  # an artifact is gone or damaged
        if reason:
            return AppliedFix(path=fix.path, outcome=LEFT, reason=reason)
        self._journal.finish(fix)
        return AppliedFix(path=fix.path, outcome=WRITTEN)

    def _write(self, fix: PlannedFix) -> str:
        """Give the file its new content; return why it was left, empty if this key wrote it."""
        with folder_of(self._plan.root, fix.path) as (folder, name):
            if self._journal.intends(fix):
                remove(folder, self._temporary)
            current = _current_digest(self._plan.root, fix)
            if current == fix.after.sha256:
                return "" if self._journal.intends(fix) else ALREADY_SO
            if current != fix.before.sha256:
                return CHANGED
            self._artifacts.get(fix.before)  # raises if the change could not be undone
            after = self._artifacts.get(fix.after)
            self._journal.intend(fix)
            swap_content(folder, name, before=fix.before.sha256, after=after, temporary=self._temporary)
            try:
                os.fsync(folder)
            except OSError as error:
                # Written, but perhaps not durably: it must not count as left. The next attempt finds it.
                raise RuntimeError(f"{fix.path}: written, but its folder could not be synced") from error
            return ""


def _current_digest(root: str, fix: PlannedFix) -> str:
    """SHA-256 of the file as it is now.

    Raises:
        PathSkippedError: it is not there as a regular file, or is larger than either of its planned contents.
    """
    return digest_bytes(read_file(root, fix.path, max(fix.before.size, fix.after.size)))


def _is_as_planned(root: str, fix: PlannedFix) -> bool:
    try:
        return _current_digest(root, fix) in (fix.before.sha256, fix.after.sha256)
    except PathSkippedError:
        return False


def _check_skip(plan: FixPlan, authorization: Authorization, fixes: list[PlannedFix]) -> None:
    """Refuse a misspelt path in `skip`: the file meant would be written against the approver's will."""
    if not any(vote.replaced for vote in authorization.votes):
        return
    unknown = set(plan.skip) - {fix.path for fix in fixes}
    if unknown:
        raise permanent("NotAuthorized", f"the plan has no file {min(unknown)!r} to skip")
