"""The code auditor: inventory, scan, triage, plan, approval, final validation, apply, report."""

from __future__ import annotations

import asyncio

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from activities.auditor.fix.apply import FixApplier
    from activities.auditor.fix.plan import FixPlanner
    from activities.auditor.records import (
        ApplyRequest,
        ApplyResult,
        Audit,
        ChangedRequest,
        Inventory,
        InventoryRequest,
        PlanRequest,
        ReportRequest,
        ScanRequest,
        ShardFindings,
        TriageRequest,
    )
    from activities.auditor.report.write import AuditReport
    from activities.auditor.scan.inventory import CodeInventory
    from activities.auditor.scan.shard import CodeScan
    from activities.auditor.triage import FindingTriage
    from common.agents.auditor import AuditInput, AuditResult, FixPlan
    from common.artifacts import ArtifactRef
    from common.digest import digest
    from workflows.core.agent import Agent
    from workflows.core.calls import LONG
    from workflows.core.final_check import Action
    from workflows.core.gate import Outcome
    from workflows.core.premises import Premise

# Shards this large keep history short at 50,000 files; this many at once keep both cores of a small machine
# busy without a pile of processes.
SHARD_FILES = 1000
SMALL_SHARD_FILES = 50
SIDE_BY_SIDE = 4


@workflow.defn(name="code-auditor")
class CodeAuditor(Agent):
    """Audits a code base and, on a human's yes, applies fixes to files that have not changed since."""

    @workflow.init
    def __init__(self, input: AuditInput) -> None:
        super().__init__(input)
        self._paths = input

    @workflow.run
    async def run(self, input: AuditInput) -> AuditResult:
        """Audit, and with `apply` fix until nothing that was approved is left to do."""
        audit = self.remembered(Audit) or await self._examine()
        while input.apply and not audit.settled:
            plan = await self._plan(audit)
            if plan.files:
                outcome = await self._ask(plan, audit)
            audit.settled = not (plan.files and outcome.approved) or await self._apply(outcome, audit)
            if audit.changed:
                await self._look_again(audit)
                await self.carry_over(audit)
        return await self._report(audit)

    async def _examine(self) -> Audit:
        inventory = await self._take_inventory()
        findings = await self._scan(inventory)
        with self.node("triage"):
            request = TriageRequest(findings=findings, wishes=list(self.instructions))
            triage = await self.call(FindingTriage.triage, request, LONG)
            for line in triage.top:
                self.note(line)
        return Audit(inventory=inventory, findings=findings, triage=triage)

    async def _take_inventory(self, only: list[str] | None = None) -> Inventory:
        with self.node("inventory"):
            request = InventoryRequest(
                root=self._paths.path,
                include=self._paths.include,
                exclude=self._paths.exclude,
                max_file_bytes=self._paths.max_file_bytes,
                only=only,
            )
            inventory = await self.call(CodeInventory.take_inventory, request, LONG)
            self.note(
                f"{inventory.files} files to scan", languages=inventory.languages, skipped=inventory.skipped
            )
            return inventory

    async def _scan(self, inventory: Inventory) -> list[ArtifactRef]:
        with self.node("scan"):
            size = max(SMALL_SHARD_FILES, min(SHARD_FILES, -(-inventory.files // SIDE_BY_SIDE)))
            free = asyncio.Semaphore(SIDE_BY_SIDE)
            done = 0

            async def shard(first: int) -> ShardFindings:
                nonlocal done
                last = min(first + size, inventory.files)
                request = ScanRequest(root=inventory.root, listing=inventory.listing, first=first, last=last)
                async with free:
                    found = await self.call(CodeScan.scan_shard, request, LONG)
                done += found.files
                self.progress(done, inventory.files)
                self.note(
                    f"files {first + 1} to {last} scanned", findings=found.by_severity, crashes=found.failures
                )
                return found

            self.progress(0, inventory.files)
            shards = await asyncio.gather(*(shard(first) for first in range(0, inventory.files, size)))
            return [each.findings for each in shards]

    async def _plan(self, audit: Audit) -> FixPlan:
        with self.node("plan"):
            request = PlanRequest(root=audit.inventory.root, findings=audit.findings, skip=audit.skipped)
            plan = await self.call(FixPlanner.plan_fixes, request, LONG)
            self.note(f"{plan.fixes} fixes in {plan.files} files", digest=digest(plan))
            return plan

    async def _ask(self, plan: FixPlan, audit: Audit) -> Outcome[FixPlan]:
        with self.node("approval"):
            question = f"Apply {plan.fixes} fixes in {plan.files} files of {plan.root}?"
            evidence = [
                *(f"not as it was approved: {path}" for path in audit.changed[:20]),
                *audit.triage.top,
            ]
            policy = self._paths.policy(self.owner, editable=("skip",))
            outcome = await self.ask(question, plan, policy, evidence, lambda plan: [_unchanged(plan)])
            audit.plans.append(outcome.plan)
            audit.decisions.append(outcome.words)
            audit.skipped += outcome.plan.skip
            return outcome

    async def _apply(self, outcome: Outcome[FixPlan], audit: Audit) -> bool:
        """Apply the approved plan; whether that settled it, or `audit.changed` tells the files in the way."""
        with self.node("apply"):
            plan = outcome.plan
            unchanged = _unchanged(plan)
            acted = await self.act(
                Action[ApplyResult](FixApplier.apply_fixes, ApplyRequest(plan=plan), outcome, [unchanged])
            )
            if acted.result is None:
                audit.changed = list(acted.now(unchanged.name) or [])
                return False
            audit.applied.append(acted.result)
            audit.changed = acted.result.conflicts
            self.note(f"{acted.result.written} files written", left=len(audit.changed))
            return not audit.changed

    async def _look_again(self, audit: Audit) -> None:
        """Audit the changed files again; the plan that follows rests on what they are now."""
        inventory = await self._take_inventory(only=audit.changed)
        audit.findings += await self._scan(inventory)

    async def _report(self, audit: Audit) -> AuditResult:
        with self.node("report"):
            request = ReportRequest(
                inventory=audit.inventory,
                findings=audit.findings,
                triage=audit.triage,
                plans=audit.plans,
                decisions=audit.decisions,
                applied=audit.applied,
            )
            report = await self.call(AuditReport.write_report, request, LONG)
        planned = max(audit.plans, key=lambda plan: plan.files, default=None)
        fixed = sum(each.written for each in audit.applied)
        return AuditResult(
            files=audit.inventory.files,
            findings=audit.triage.findings,
            by_severity=audit.triage.by_severity,
            skipped=audit.inventory.skipped,
            fixes_planned=planned.fixes if planned else 0,
            files_fixed=fixed,
            files_left=planned.files - fixed if planned else 0,
            decision=audit.decisions[-1] if audit.decisions else "none asked",
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
