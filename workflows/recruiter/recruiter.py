"""The recruiter: a ranking, letters, approval, days of waiting for answers, interviews, a report."""

from __future__ import annotations

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from activities.recruiting.activities import RecruitingActivities
    from activities.recruiting.candidacy import Candidacy, Stage
    from activities.recruiting.memory import RecruiterMemory
    from activities.recruiting.records import DraftLetters, RankRequest, RecruitingReportRequest
    from activities.recruiting.sending import OUTREACH_EDITABLE
    from activities.recruiting.understanding import ShortWords, opening_of
    from common.agents.recruiter import RecruiterInput, RecruiterResult, RecruitingOutcome
    from workflows.core.calls import LONG, QUICK, READ
    from workflows.recruiter.letters import Correspondent
    from workflows.recruiter.questions import REMINDERS, answered


@workflow.defn(name="recruiter")
class Recruiter(Correspondent):
    """Writes to the candidates that people approved, waits for each, and invites those who agree, once."""

    @workflow.init
    def __init__(self, input: RecruiterInput) -> None:
        super().__init__(input)

    @workflow.run
    async def run(self, input: RecruiterInput) -> RecruiterResult:
        """Rank, draft, ask; then write, wait and understand until every candidate's course has ended."""
        memory = self._memory
        await self._rank(memory)
        await self._draft(memory)
        if await self._approve(memory):
            await self._correspond(memory)
            outcome = RecruitingOutcome.DONE
        else:
            self._stop(memory)
            outcome = RecruitingOutcome.NOT_APPROVED
        return await self._report(memory, outcome)

    async def _rank(self, memory: RecruiterMemory) -> None:
        """Order the candidates by what their profiles tell of the role, and by nothing that is protected."""
        if memory.ranking is not None:
            return
        with self.node("rank"):
            request = RankRequest(
                role=self._wanted.role,
                candidates=self._wanted.candidates,
                profiles=self._wanted.profiles or "",
            )
            ranked = await self.call(RecruitingActivities.rank_candidates, request, LONG)
            self.note(
                f"{len(ranked.order)} candidates ranked, {ranked.unread} without a profile",
                model=ranked.model,
                taken_out=ranked.removed,
            )
            memory.ranking, memory.model = ranked.ranking, ranked.model
            memory.courses = {id: Candidacy() for id in ranked.order}
            for id in ranked.order[self._wanted.contact or len(ranked.order) :]:
                memory.courses[id].end(Stage.NOT_WRITTEN)

    async def _draft(self, memory: RecruiterMemory) -> None:
        """Write the letters, for people to approve."""
        if memory.plan is not None:
            return
        with self.node("draft"):
            if self._wanted.calendar:
                # One that cannot be read is better known before anybody is written to.
                everything = self._calendar(range(len(self._wanted.slots)))
                await self.call(RecruitingActivities.busy_slots, everything, READ)
            opening = await self.think(opening_of(self._wanted.role))
            request = DraftLetters(
                role=self._wanted.role,
                candidates=tuple(self._people[id] for id, _ in memory.at(Stage.LISTED)),
                questions=self._wanted.questions,
                slots=self._wanted.slots,
                answer_within=self._wanted.answer_within,
                sender=self._wanted.sender,
                opening=ShortWords.model_validate(opening.value).text,
                model=opening.model,
            )
            drafted = await self.call(RecruitingActivities.draft_letters, request, QUICK)
            memory.plan, memory.draft = drafted.plan, drafted.path
            self.note(f"{drafted.plan.count} letters drafted", path=drafted.path)

    async def _approve(self, memory: RecruiterMemory) -> bool:
        """Ask about the whole batch, once; and again where the word has grown too old to act on."""
        if memory.approval is None and not memory.decision:
            assert memory.plan is not None
            with self.node("approve"):
                plan = memory.plan
                question = f"Write to {plan.count} candidates about {plan.role}?"
                policy = self._wanted.policy(self.owner, editable=OUTREACH_EDITABLE, reminders=REMINDERS)
                evidence = [*memory.evidence, f"all letters to read: {memory.draft}"]
                outcome = await self.ask(question, plan, policy, evidence, memory=memory)
                memory.decision = outcome.words
                if outcome.approved:
                    memory.approval, memory.evidence = answered(outcome), []
                for id, course in memory.at(Stage.LISTED):
                    if id in outcome.plan.leave_out:
                        course.end(Stage.NOT_WRITTEN)
        return memory.approval is not None

    async def _report(self, memory: RecruiterMemory, outcome: RecruitingOutcome) -> RecruiterResult:
        """Tell who was ranked where and why, and what happened to whom."""
        with self.node("report"):
            assert memory.ranking is not None
            request = RecruitingReportRequest(
                ranking=memory.ranking,
                courses=memory.courses,
                slots=self._wanted.slots,
                model=memory.model,
                outcome=outcome,
                decision=memory.decision,
                now=workflow.now(),
            )
            report = await self.call(RecruitingActivities.recruiting_report, request, READ)
        return RecruiterResult(
            outcome=outcome,
            role=self._wanted.role.title,
            candidates=len(memory.courses),
            counts=memory.counts,
            letters=memory.letters,
            report=report.model_dump(),
            model=memory.model,
            decision=memory.decision,
        )
