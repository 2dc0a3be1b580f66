"""The recruiter: a ranking, letters, approval, days of waiting for answers, interviews, a report."""

from __future__ import annotations

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from activities.preconditions import Preconditions
    from activities.recruiting.activities import RecruitingActivities
    from activities.recruiting.candidacy import Candidacy, Stage
    from activities.recruiting.letters import OPENING
    from activities.recruiting.memory import CandidatesView, RecruiterMemory
    from activities.recruiting.records import DraftLetters, RankRequest, RecruitingReportRequest
    from activities.recruiting.sending import OUTREACH_EDITABLE
    from activities.recruiting.understanding import opening_of
    from common.agents.recruiter import RecruiterInput, RecruiterResult, RecruitingOutcome
    from common.grammar import counted
    from common.mail import ChoiceAsked, ChoiceView
    from workflows.core.agent import LONG, QUICK, READ, Agent
    from workflows.recruiter.calendar import Calendar
    from workflows.recruiter.letters import Letters
    from workflows.recruiter.links import Links
    from workflows.recruiter.mail import Mail
    from workflows.recruiter.questions import Questions
    from workflows.recruiter.words import words_for

# Letters per action; their outcomes are recorded after each.
SENT_AT_ONCE = 50


@workflow.defn(name="recruiter")
class Recruiter(Agent[RecruiterInput, RecruiterMemory]):
    """Writes to the candidates that people approved, waits for each, and invites those who agree, once.

    A thousand candidates are one agent with one timer. Each has a candidacy, which an answer or a deadline
    advances; the agent handles all of them in rounds.
    """

    long_lived = True
    reads_mail = True

    @workflow.init
    def __init__(self, input: RecruiterInput) -> None:
        super().__init__(input, RecruiterMemory)
        self._calendar = Calendar(self)
        self._links = Links(self)
        self._letters = Letters(self, self._calendar, self._links)
        self._questions = Questions(self, self._calendar, self._letters, self._links)
        self._mail = Mail(self, self._questions, self._links)

    @workflow.run
    async def run(self, input: RecruiterInput) -> RecruiterResult:
        """Rank, draft, ask; then write, wait and understand until every candidacy has ended."""
        await self.require(Preconditions.check, input.needs)
        if self.memory.ranking is None:
            await self._rank()
        if self.memory.plan is None:
            await self._draft()
        if await self._approved():
            await self._correspond()
            return await self._report(RecruitingOutcome.DONE)
        self._letters.stop()
        return await self._report(RecruitingOutcome.NOT_APPROVED)

    async def _rank(self) -> None:
        """Rank the candidates by how their profiles fit the role, and by no protected characteristic."""
        with self.node("rank"):
            request = RankRequest(
                role=self.input.role,
                candidates=self.input.candidates,
                profiles=self.input.profiles or "",
            )
            ranked = await self.call(RecruitingActivities.rank_candidates, request, LONG)
            self.spent(ranked.cost)
            if ranked.note:
                self.note(ranked.note)
            self.note(
                f"{counted(len(ranked.order), 'candidate')} ranked, {ranked.unread} without a profile",
                model=ranked.model,
                taken_out=ranked.removed,
            )
            memory = self.memory
            memory.ranking, memory.model = ranked.ranking, ranked.model
            memory.unread, memory.weak = ranked.unread, ranked.weak
            memory.courses = {id: Candidacy() for id in ranked.order}
            for id in ranked.order[self.input.contact or len(ranked.order) :]:
                memory.courses[id].end(Stage.NOT_WRITTEN)

    async def _draft(self) -> None:
        """Write the letters, for people to approve."""
        with self.node("draft"):
            if self.input.calendar:
                # Find out that it cannot be read before anybody is written to.
                await self._calendar.busy(range(len(self.input.slots)))
            people = self.input.people
            fixed = OPENING.format(title=self.input.role.title)
            opening, model = await words_for(self, opening_of(self.input.role), fixed)
            request = DraftLetters(
                role=self.input.role,
                candidates=tuple(people[id] for id, _ in self.memory.at(Stage.LISTED)),
                questions=self.input.questions,
                slots=self.input.slots,
                answer_within=self.input.answer_within,
                sender=self.input.sender,
                opening=opening,
                model=model,
            )
            drafted = await self.call(RecruitingActivities.draft_letters, request, QUICK)
            self.memory.plan, self.memory.draft = drafted.plan, drafted.path
            self.note(f"{counted(drafted.plan.count, 'letter')} drafted", file=drafted.path)

    async def _approved(self) -> bool:
        """Ask about all letters at once, and again when the approval is too old to act on."""
        memory, plan = self.memory, self.memory.plan
        if memory.approval is None and not memory.decision and plan is not None:
            with self.node("approve"):
                weak = f" (weak match: {memory.weak})" if memory.weak else ""
                question = f"Write to {counted(plan.count, 'candidate')} about {plan.role}{weak}?"
                policy = self.input.policy(self.owner, editable=OUTREACH_EDITABLE)
                evidence = [*memory.evidence]
                if memory.unread:
                    evidence.append(f"{memory.unread} of {len(memory.courses)} profiles could not be read")
                evidence.append(f"all letters to read: {memory.draft}")
                outcome = await self.ask(question, plan, policy, evidence)
                memory.decision = outcome.words
                if outcome.approved:
                    memory.approval, memory.evidence = outcome.answer, []
                for id, candidacy in memory.at(Stage.LISTED):
                    if id in outcome.plan.leave_out:
                        candidacy.end(Stage.NOT_WRITTEN)
        return memory.approval is not None

    async def _correspond(self) -> None:
        """Work in rounds: read mail, act on decisions, send what is due, ask people; then sleep."""
        memory = self.memory
        with self.node("wait"):
            while True:
                await self._mail.read()
                await self._questions.act_on_answers()
                self._letters.fall_due()
                await self._write()
                await self._questions.ask()
                self.progress(
                    sum(candidacy.over for candidacy in memory.courses.values()), len(memory.courses)
                )
                if memory.over:
                    break
                await self._rest()
        await self._questions.withdraw_all("nobody is left to be asked about")

    async def _write(self) -> None:
        """Send the approved letters that are due: first letters, follow-ups, proposals of slots."""
        while letters := await self._letters.due():
            for start in range(0, len(letters), SENT_AT_ONCE):
                if not await self._approved():
                    self._letters.stop()
                    return
                await self._letters.send(letters[start : start + SENT_AT_ONCE])
            if self.mail:
                return  # mail that arrived meanwhile may change what is due

    async def _rest(self) -> None:
        """Sleep until something is due, or a mail or an answer arrives."""
        if not self._has_news():
            await self.carry_over()
        if not self._has_news():
            waiting = sum(not candidacy.over for candidacy in self.memory.courses.values())
            await self.hibernate(
                self.memory.next_due(workflow.now()),
                wake_on=self._has_news,
                waiting_for=f"{waiting} candidate{'s' if waiting > 1 else ''}",
            )

    def _has_news(self) -> bool:
        return bool(self.mail) or self._questions.has_answers

    async def _report(self, outcome: RecruitingOutcome) -> RecruiterResult:
        """Report who was ranked where and why, and what happened to each candidate."""
        memory = self.memory
        with self.node("report"):
            assert memory.ranking is not None
            request = RecruitingReportRequest(
                ranking=memory.ranking,
                courses=memory.courses,
                slots=self.input.slots,
                model=memory.model,
                outcome=outcome,
                decision=memory.decision,
                now=workflow.now(),
            )
            report = await self.call(RecruitingActivities.recruiting_report, request, READ)
        return RecruiterResult(
            outcome=outcome,
            role=self.input.role.title,
            candidates=len(memory.courses),
            counts=memory.counts,
            letters=memory.letters,
            report=report.model_dump(),
            model=memory.model,
            decision=memory.decision,
        )

    @workflow.query
    def candidates(self) -> CandidatesView:
        """The candidacies so far."""
        return CandidatesView(courses=self.memory.courses)

    @workflow.query
    def choice(self, asked: ChoiceAsked) -> ChoiceView:
        """The state of a link in a letter, for the page behind it."""
        return self._links.standing(asked)
