"""The contract auditor: judge a folder as a batch, ask once about similar findings, check again, report."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import timedelta

from temporalio import workflow
from temporalio.exceptions import ActivityError, ApplicationError, is_cancelled_exception

with workflow.unsafe.imports_passed_through():
    from activities.contracts.activities import Contracts
    from activities.contracts.opinions import about_clause
    from activities.contracts.records import (
        AuditRequest,
        CheckRequest,
        CompareRequest,
        ContractsReportRequest,
        GroupRequest,
        ModelAnswer,
        ModelQuestion,
        OpenRequest,
        PinRequest,
        Thinker,
    )
    from activities.contracts.report.write import ContractReports
    from activities.llm.records import OFFLINE
    from common.agents.contracts import (
        AcceptPlan,
        ContractReaderInput,
        ContractReaderResult,
        ContractsInput,
        ContractsMemory,
        ContractsReport,
        ContractsResult,
        FindingGroup,
        GroupDecision,
    )
    from common.approval.types import OutcomeVerdict
    from common.artifacts import ArtifactRef
    from common.grammar import counted
    from workflows.core.agent import LONG, READ, Agent, CallPolicy, agents_of, calling, cause_of

# One contract: one process reads it and another judges it, each within its own limits. It heartbeats every
# few seconds, so a dead worker is noticed soon.
CONTRACT = CallPolicy(
    start_to_close=timedelta(minutes=15), retry=READ.retry, heartbeat=timedelta(seconds=15), lasting=True
)
# Handing out a contract of ten pages costs a quarter of what it costs to read and judge it.
CONTRACTS_A_CALL = 10
# A contract may change again while changed ones are read; do not wait for people who keep editing.
MAX_CHECKS = 5
REPORT_NOW = "report now"


@workflow.defn(name="contract-auditor")
class ContractAuditor(Agent[ContractsInput, ContractsMemory]):
    """Judges every contract in a folder by a playbook, and asks people once about similar findings."""

    long_lived = True

    @workflow.init
    def __init__(self, input: ContractsInput) -> None:
        super().__init__(input, ContractsMemory)

    @workflow.run
    async def run(self, input: ContractsInput) -> ContractsResult:
        """Audit all, ask, and read again what changed, until the report is up to date."""
        reports = asyncio.create_task(self._report_when_told())
        try:
            await self._open()
            await self._read()
            while True:
                if input.decide:
                    await self._decide()
                if not await self._look_again():
                    break
            with self.node("report"):
                return self._result(await self._report(unfinished=False))
        finally:
            reports.cancel()

    async def _open(self) -> None:
        """List the contracts, and pin the playbook."""
        memory = self.memory
        if memory.listing is not None:
            return
        with self.node("list"):
            request = OpenRequest(
                folder=self.input.folder, playbook=self.input.playbook, thinker=_thinker(self.input)
            )
            opened = await self.call(Contracts.open_contracts, request, LONG)
            memory.playbook, memory.playbook_name = opened.playbook, opened.playbook_name
            memory.items, memory.other = opened.items, opened.other
            memory.left_out, memory.thinks = opened.left_out, opened.thinks
            memory.listing = opened.listing
            self.note(
                f"{opened.items} contracts to read, judged by {opened.playbook_name!r}",
                other=opened.other,
                left_out=len(opened.left_out),
            )

    async def _read(self) -> None:
        """Read and judge every contract once."""
        if self.memory.read:
            return
        assert self.memory.listing is not None
        with self.node("read"):
            await self._batch(self.memory.listing)
            self.memory.read = True

    async def _batch(self, listing: ArtifactRef) -> None:
        if self.memory.thinks:
            work = agents_of("contract-reader")
        elif workflow.patched("several-contracts-a-call"):
            work = calling(Contracts.audit_contracts, CONTRACT, together=CONTRACTS_A_CALL)
        else:
            work = calling(Contracts.audit_contract, CONTRACT)
        counts = await self.batch(listing, work, self.input.at_once, self.input.batch)
        self.memory.results += counts.results
        self.note(f"{counted(counts.done, 'contract')} judged, {counts.quarantined} could not be read")

    async def _decide(self) -> None:
        """Ask people about findings that need a human, once for all similar ones."""
        memory = self.memory
        with self.node("approval"):
            if memory.groups is None:
                request = GroupRequest(results=tuple(memory.results), decisions=tuple(memory.decisions))
                grouped = await self.call(Contracts.group_findings, request, LONG)
                memory.groups = list(grouped.groups)
                if grouped.more:
                    self.note(f"{grouped.more} more kinds of findings are only reported")
            await asyncio.gather(*map(self._ask, memory.undecided()))

    async def _ask(self, group: FindingGroup) -> None:
        plan = AcceptPlan(
            clause=group.clause,
            rule=group.rule,
            finding=group.title,
            contracts=group.contracts,
            named=group.named,
            said=group.said,
            listing=group.listing,
        )
        many = counted(group.contracts, "contract")
        question = f"Accept in {many}: {group.title} ({group.severity}, {group.verdict})?"
        policy = self.input.policy(self.owner, editable=("leave_out",))
        outcome = await self.ask(question, plan, policy, [f"it says: {each}" for each in group.said])
        self.memory.decisions.append(
            GroupDecision(
                clause=group.clause,
                rule=group.rule,
                accepted=None if outcome.verdict is OutcomeVerdict.EXPIRED else outcome.approved,
                words=outcome.words,
                listing=group.listing,
                leave_out=tuple(outcome.plan.leave_out),
            )
        )

    async def _look_again(self) -> bool:
        """Read again contracts that changed since they were read; False if there are none to ask about."""
        memory = self.memory
        assert memory.playbook is not None
        if memory.again is None:
            with self.node("look again"):
                request = CheckRequest(
                    folder=self.input.folder,
                    results=tuple(memory.results),
                    playbook=memory.playbook,
                    thinker=_thinker(self.input) if memory.thinks else None,
                )
                checked = await self.call(Contracts.check_contracts, request, LONG)
                memory.checks += 1
                memory.vanished = checked.gone if checked.vanished else None
                if checked.vanished:
                    self.note(f"{counted(checked.vanished, 'contract is', 'contracts are')} no longer there")
                if not checked.changed:
                    return False
                if memory.checks > MAX_CHECKS:
                    self.note(
                        f"{counted(checked.changed, 'contract')} changed once more; reported as last read"
                    )
                    return False
                self.note(
                    f"{counted(checked.changed, 'contract')} changed since the first reading; read again"
                )
                memory.reread += checked.changed
                memory.again = checked.listing
        with self.node("read"):
            await self._batch(memory.again)
            memory.again, memory.groups = None, None
        await self.carry_over()
        return True

    async def _report_when_told(self) -> None:
        """Write a report of the results so far whenever people say `report now`."""
        memory = self.memory
        while True:
            await workflow.wait_condition(lambda: self._told() > memory.reported)
            memory.reported = self._told()
            if memory.playbook is None:
                self.note("no report yet: the contracts are still being listed")
                continue
            so_far = await self.batch_results()
            report = await self._report([so_far.results] if so_far else [], unfinished=True)
            self.note(f"a report of what there is so far: {report.files['html'].rpartition('/')[2]}")

    def _told(self) -> int:
        return sum(words.strip().lower().rstrip(".!") == REPORT_NOW for words in self.instructions)

    async def _report(self, so_far: Sequence[ArtifactRef] = (), *, unfinished: bool) -> ContractsReport:
        memory = self.memory
        assert memory.playbook is not None
        request = ContractsReportRequest(
            folder=self.input.folder,
            playbook=memory.playbook,
            results=(*memory.results, *so_far),
            decisions=tuple(memory.decisions),
            items=memory.items,
            other=memory.other,
            left_out=memory.left_out,
            reread=memory.reread,
            vanished=memory.vanished,
            unfinished=unfinished,
        )
        return await self.call(ContractReports.write_contracts_report, request, LONG)

    def _result(self, report: ContractsReport) -> ContractsResult:
        decided = self.memory.decisions
        return ContractsResult(
            contracts=sum(report.verdicts.values()),
            verdicts=report.verdicts,
            quarantined=report.quarantined,
            findings=report.findings,
            asked=len(decided),
            accepted=sum(each.accepted is True for each in decided),
            reread=self.memory.reread,
            worst=report.worst,
            report=report.files,
        )


def _thinker(input: ContractsInput) -> Thinker:
    # Agents started before this patch made their calls without approvers.
    others = tuple(input.approvers) if input.approvers and workflow.patched("readers-know-approvers") else ()
    return Thinker(
        model=input.model, budget_tokens=input.budget_tokens, budget_usd=input.budget_usd, approvers=others
    )


@workflow.defn(name="contract-reader")
class ContractReader(Agent[ContractReaderInput, None]):
    """Reads one contract by the rules of a playbook, and has a language model check them."""

    @workflow.init
    def __init__(self, input: ContractReaderInput) -> None:
        super().__init__(input)
        if input.approvers:
            self.budget_approvers = (self.owner, *input.approvers)

    @workflow.run
    async def run(self, input: ContractReaderInput) -> ContractReaderResult:
        """Read and judge by rules, ask the model about each clause, and show where the two differ."""
        with self.node("read"):
            playbook = input.pinned
            if playbook is None:
                request = PinRequest(playbook=input.playbook)
                playbook = (await self.call(Contracts.pin_playbook, request, READ)).playbook
            folder, _, name = input.file.rpartition("/")
            if input.name:
                folder, name = input.file[: -len(input.name) - 1], input.name
            audited = await self.call(
                Contracts.audit_contract,
                AuditRequest(folder=folder or "/", name=name, playbook=playbook, asks=True),
                CONTRACT,
            )
            self.note(f"{audited.result.title or name}: {audited.result.verdict}")
        with self.node("think"):
            answers = [answer for each in audited.questions if (answer := await self._asked(each, name))]
        if answers:
            with self.node("compare"):
                compare = CompareRequest(result=audited.result, answers=tuple(answers))
                audited = await self.call(Contracts.compare_opinions, compare, READ)
        # Keep the result small for a batch.
        return ContractReaderResult(result=audited.result, findings=() if input.pinned else audited.worst)

    async def _asked(self, question: ModelQuestion, name: str) -> ModelAnswer | None:
        """The model's verdict on a clause; None if there is no language model."""
        model = choice = ""
        try:
            reply = await self.think(about_clause(question, name))
            if reply.model == OFFLINE:
                return None
            model, choice = reply.model, reply.choice
        except (ActivityError, ApplicationError) as error:
            if is_cancelled_exception(error):
                raise
            self.note(f"no verdict of the model on {question.title}: {cause_of(error)}")
        return ModelAnswer(
            clause=question.clause, title=question.title, rules=question.rules, model=model, choice=choice
        )
