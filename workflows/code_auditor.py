"""The code auditor: inventory, scan, triage, plan, approval, final validation, apply, report."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta

from temporalio import workflow
from temporalio.common import RetryPolicy

with workflow.unsafe.imports_passed_through():
    from activities.auditor.baseline import BaselineReader
    from activities.auditor.fix.apply import FixApplier
    from activities.auditor.fix.plan import FixPlanner
    from activities.auditor.records import (
        ApplyRequest,
        ApplyResult,
        AuditorMemory,
        Baseline,
        BaselineRequest,
        ChangedRequest,
        Inventory,
        InventoryRequest,
        PlanRequest,
        ReportRequest,
        ScanRequest,
        ShardFindings,
        TriageRequest,
        UnprovenRequest,
    )
    from activities.auditor.report.write import AuditReport
    from activities.auditor.scan.inventory import CodeInventory
    from activities.auditor.scan.records import KeepRequest, Recalled, RecallRequest, Tree
    from activities.auditor.scan.result_cache import ResultCache
    from activities.auditor.scan.shard import CodeScan
    from activities.auditor.triage import FindingTriage
    from activities.preconditions import Preconditions
    from common.agents.auditor import AuditInput, AuditResult, FixPlan
    from common.artifacts import ArtifactRef
    from common.digest import digest
    from common.grammar import counted
    from workflows.core.agent import LONG, LONG_ACTION, Action, Agent, Outcome, Premise

# Shards of this size keep history short at 50,000 files; this many in parallel keep both cores of a small
# machine busy without too many processes.
SHARD_FILES = 1000
SMALL_SHARD_FILES = 50
SIDE_BY_SIDE = 4

# A dead worker is noticed within ten seconds. The short retry intervals keep repeated deaths from adding up.
AUDIT_POLICY = replace(
    LONG,
    heartbeat=timedelta(seconds=10),
    retry=RetryPolicy(initial_interval=timedelta(seconds=1), maximum_interval=timedelta(seconds=5)),
)


@workflow.defn(name="code-auditor")
class CodeAuditor(Agent[AuditInput, AuditorMemory]):
    """Audits a code base and, if people approve, applies fixes to files that have not changed since."""

    @workflow.init
    def __init__(self, input: AuditInput) -> None:
        super().__init__(input, AuditorMemory)

    @workflow.run
    async def run(self, input: AuditInput) -> AuditResult:
        """Audit; with `apply`, fix until nothing approved is left to do."""
        memory = self.memory
        if memory.triage is None:
            await self._examine()
        if input.apply and workflow.patched("looks-whether-it-may-write"):
            await self.require(Preconditions.check, input.needs)
        while input.apply and not memory.settled:
            plan = memory.plan = memory.plan or await self._plan()
            memory.settled = not plan.files or await self._fix(plan)
            memory.plan = None
            if memory.changed:
                await self._examine_again()
                await self.carry_over()
        return await self._report()

    async def _examine(self) -> None:
        """Scan every file, and triage the findings."""
        memory = self.memory
        if self.input.baseline:
            memory.baseline = await self._read_baseline(self.input.baseline)
        memory.inventory = await self._take_inventory()
        memory.findings = await self._scan(memory.inventory)
        with self.node("triage"):
            request = TriageRequest(
                findings=memory.findings, wishes=list(self.instructions), baseline=memory.baseline
            )
            memory.triage = await self.call(FindingTriage.triage, request, AUDIT_POLICY)
            self.spent(memory.triage.cost)
            if memory.triage.note:
                self.note(memory.triage.note)
            if memory.baseline:
                new = memory.triage.findings - memory.triage.accepted
                self.note(
                    "compared with the baseline",
                    new=new,
                    accepted=memory.triage.accepted,
                    absent=memory.triage.absent,
                )
            for line in memory.triage.top:
                self.note(line)

    async def _read_baseline(self, path: str) -> Baseline:
        with self.node("baseline"):
            baseline = await self.call(BaselineReader.read_baseline, BaselineRequest(path=path), AUDIT_POLICY)
            self.note("known and accepted", findings=baseline.findings)
            return baseline

    async def _fix(self, plan: FixPlan) -> bool:
        """Ask about the plan and apply it; False if files changed (`memory.changed`) or it does not hold."""
        outcome = await self._ask(plan)
        memory = self.memory
        memory.plans.append(outcome.plan)
        memory.decisions.append(outcome.words)
        memory.skipped += outcome.plan.skip
        if not outcome.approved:
            return True
        return await self._holds(outcome.plan) and await self._apply(outcome)

    async def _holds(self, plan: FixPlan) -> bool:
        """Whether the fixes still hold without those that approvers left out: they were proven together."""
        if not plan.skip or not workflow.patched("proven-without-those-left-out"):
            return True
        request = UnprovenRequest(plan=plan, proven=await self._plan())
        self.memory.unproven = (await self.call(FixApplier.unproven_files, request, LONG)).paths
        if self.memory.unproven:
            self.note(
                "not applied: not all of it holds without what was left out", files=self.memory.unproven
            )
        return not self.memory.unproven

    async def _take_inventory(self, only: list[str] | None = None) -> Inventory:
        with self.node("inventory"):
            request = InventoryRequest(
                root=self.input.path,
                include=self.input.include,
                exclude=self.input.exclude,
                max_file_bytes=self.input.max_file_bytes,
                only=only,
            )
            inventory = await self.call(CodeInventory.take_inventory, request, AUDIT_POLICY)
            self.note(
                f"{inventory.files} files to scan", languages=inventory.languages, skipped=inventory.skipped
            )
            return inventory

    async def _scan(self, inventory: Inventory, *, again: bool = False) -> list[ArtifactRef]:
        """Scan every file whose findings are not known from an earlier audit."""
        with self.node("scan"):
            keeps = bool(self.owner) and not again and workflow.patched("keeps-results")
            tree = Tree(
                owner=self.owner,
                root=inventory.root,
                include=self.input.include,
                exclude=self.input.exclude,
            )
            known = Recalled(findings=[], known=0, rest=inventory.listing, left=inventory.files)
            if keeps:
                known = await self.call(
                    ResultCache.recall, RecallRequest(tree=tree, listing=inventory.listing), AUDIT_POLICY
                )
                self.note("known from an earlier audit", files=known.known, left=known.left)
            findings = known.findings + await self._scan_shards(inventory, known)
            if keeps and known.left:
                kept = KeepRequest(tree=tree, listing=inventory.listing, findings=findings)
                await self.call(ResultCache.keep, kept, AUDIT_POLICY)
            return findings

    async def _scan_shards(self, inventory: Inventory, known: Recalled) -> list[ArtifactRef]:
        files = known.left
        size = max(SMALL_SHARD_FILES, min(SHARD_FILES, -(-files // SIDE_BY_SIDE)))
        free = asyncio.Semaphore(SIDE_BY_SIDE)
        began, done = workflow.now(), 0

        async def shard(first: int) -> ShardFindings:
            nonlocal done
            last = min(first + size, files)
            request = ScanRequest(root=inventory.root, listing=known.rest, first=first, last=last)
            async with free:
                found = await self.call(CodeScan.scan_shard, request, AUDIT_POLICY)
            done += found.files
            self.progress(known.known + done, inventory.files)
            seconds = (workflow.now() - began).total_seconds()
            self.note(
                f"files {first + 1} to {last} scanned",
                findings=found.by_severity,
                crashes=found.failures,
                files_per_minute=round(60 * done / seconds) if seconds else 0,
                minutes_left=round(seconds * (files - done) / done / 60, 1) if done else 0,
            )
            return found

        self.progress(known.known, inventory.files)
        shards = await asyncio.gather(*(shard(first) for first in range(0, files, size)))
        return [each.findings for each in shards]

    async def _plan(self) -> FixPlan:
        with self.node("plan"):
            memory = self.memory
            assert memory.inventory is not None
            request = PlanRequest(
                root=memory.inventory.root,
                findings=memory.findings,
                skip=memory.skipped,
                verify=self.input.verify,
                # Agents started before this patch made their plans without an owner.
                owner=self.owner if workflow.patched("owner-of-the-plan") else "",
            )
            plan = await self.call(FixPlanner.plan_fixes, request, LONG)
            fixes = counted(plan.fixes, "fix", "fixes")
            self.note(f"{fixes} in {counted(plan.files, 'file')}", digest=digest(plan))
            return plan

    async def _ask(self, plan: FixPlan) -> Outcome[FixPlan]:
        with self.node("approval"):
            assert self.memory.triage is not None
            fixes = counted(plan.fixes, "fix", "fixes")
            question = f"Apply {fixes} in {counted(plan.files, 'file')} of {plan.root}?"
            evidence = [
                *(f"not as it was approved: {path}" for path in self.memory.changed[:20]),
                *(f"does not hold without what was left out: {path}" for path in self.memory.unproven[:20]),
                *self.memory.triage.top,
            ]
            policy = self.input.policy(self.owner, editable=("skip",))
            return await self.ask(question, plan, policy, evidence, lambda plan: [_unchanged(plan)])

    async def _apply(self, outcome: Outcome[FixPlan]) -> bool:
        """Apply the approved plan; False if files had changed."""
        with self.node("apply"):
            plan, memory = outcome.plan, self.memory
            unchanged = _unchanged(plan)
            acted = await self.act(
                Action[ApplyResult](
                    FixApplier.apply_fixes, ApplyRequest(plan=plan), outcome, [unchanged], policy=LONG_ACTION
                )
            )
            if acted.result is None:
                memory.changed = list(acted.now(unchanged.name) or [])
                return False
            memory.applied.append(acted.result)
            memory.changed = acted.result.conflicts
            self.note(f"{counted(acted.result.written, 'file')} written", left=len(memory.changed))
            return not memory.changed

    async def _examine_again(self) -> None:
        """Scan the changed files again; the next plan rests on their current content."""
        inventory = await self._take_inventory(only=self.memory.changed)
        self.memory.findings += await self._scan(inventory, again=True)

    async def _report(self) -> AuditResult:
        memory = self.memory
        assert memory.inventory is not None
        assert memory.triage is not None
        with self.node("report"):
            request = ReportRequest(
                inventory=memory.inventory,
                findings=memory.findings,
                triage=memory.triage,
                plans=memory.plans,
                decisions=memory.decisions,
                applied=memory.applied,
                baseline=memory.baseline,
            )
            report = await self.call(AuditReport.write_report, request, AUDIT_POLICY)
        planned = max(memory.plans, key=lambda plan: plan.files, default=None)
        fixed = sum(each.written for each in memory.applied)
        return AuditResult(
            files=memory.inventory.files,
            findings=memory.triage.findings,
            accepted=memory.triage.accepted,
            absent=memory.triage.absent,
            by_severity=memory.triage.by_severity,
            skipped=memory.inventory.skipped,
            fixes_planned=planned.fixes if planned else 0,
            files_fixed=fixed,
            files_left=planned.files - fixed if planned else 0,
            decision=memory.decisions[-1] if memory.decisions else "none asked",
            report=report.files,
        )


def _unchanged(plan: FixPlan) -> Premise:
    return Premise(
        "files that are not as approved",
        FixApplier.changed_files,
        ChangedRequest(plan=plan),
        seen=[],
        read=lambda changed: changed.paths,
    )
