"""Directs a rehearsal: skips time to the next event, and lets people answer."""

from __future__ import annotations

import asyncio
import heapq
import itertools
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from temporalio.client import Client, WorkflowHandle
from temporalio.service import RPCError, RPCStatusCode

from activities.rehearsal.interceptor import CallOutcome, RehearsedCall
from cli.rehearsal.answers import Answer, AnswerScript, UnpromptedMessage
from cli.rehearsal.histories import Histories, Tracked
from cli.rehearsal.story import EndState, Entry, EntryKind, Story
from cli.rehearsal.world import World
from common.approval.groups import Directory
from common.approval.signing import Signer
from common.approval.types import ApprovalRequest, ApprovalsView, Decision, Verdict, judged
from common.client.view import answer_of
from common.mail import IncomingMail, MailKind
from common.notices.types import Notice, NoticeEvent
from common.temporal import search_attributes

PATIENCE = timedelta(seconds=10)
MOMENT = timedelta(milliseconds=100)
FIRST_PAUSE, LONGEST_PAUSE = 0.003, 0.1
# Something people do at a moment of the agent's time.
Act = Callable[[datetime], Awaitable[None]]


class Director:
    """Directs the rehearsal of one agent, and of the agents that it starts.

    Args:
        client: of the rehearsal's own server.
        agent: the agent's id.
        script: who answers what.
        story: records what happens.
        signer: signs decisions with the rehearsal's own keys.
        directory: who is in which group.
        stage: the world of the rehearsal.
    """

    def __init__(
        self,
        client: Client,
        agent: str,
        script: AnswerScript,
        story: Story,
        signer: Signer,
        directory: Directory,
        stage: World,
    ) -> None:
        self._client, self._agent, self._script, self._story = client, agent, script, story
        self._signer, self._directory = signer, directory
        self._stage, self._read = stage, stage.calls.stat().st_size
        self._histories = Histories(client, story.take)
        self._histories.track(agent)
        self._coming: list[tuple[datetime, int, Act]] = []
        self._order = itertools.count()
        self._asked: set[tuple[str, str]] = set()

    @property
    def agent(self) -> Tracked:
        """The rehearsed agent."""
        return self._histories.tracked[self._agent]

    @property
    def flaw(self) -> str:
        """Why a workflow's code keeps failing; empty if none does."""
        return self._histories.flaw

    async def lead(self, started: datetime, until: datetime) -> EndState:
        """Run to the agent's end, or up to `until`; the agent starts at `started`."""
        for word in self._script.tell:
            self._at(started + word.after, partial(self._say, word))
        for word in self._script.mail:
            self._at(started + word.after, partial(self._mail, word))
        while True:
            await self._rest()
            if self.flaw:
                return EndState.BROKEN
            if not self.agent.is_running:
                return EndState.AGENT
            if not await self._took_questions():
                continue
            due = min((each.due for each in self._histories.running if each.due), default=None)
            coming = self._coming[0][0] if self._coming else None
            at = min((each for each in (due, coming) if each), default=None)
            if at is None:
                return EndState.WAITS
            if at > until:
                await self._histories.forward(until)
                await self._rest()
                return EndState.SIMULATED
            # People act a moment later, after whatever else happens at that time.
            await self._histories.forward(at if due == at else at + MOMENT)
            while self._coming and self._coming[0][0] <= at:
                moment, _, act = heapq.heappop(self._coming)
                await act(moment)

    async def _rest(self) -> None:
        """Wait until nothing is in progress in any workflow."""
        pause = FIRST_PAUSE
        while not await self._is_at_rest() and not self.flaw:
            self._stage.check()
            await asyncio.sleep(pause)
            pause = min(pause * 1.5, LONGEST_PAUSE)

    async def _is_at_rest(self) -> bool:
        known = len(self._histories.tracked)
        rests = await self._histories.look()
        # Read the calls last: an activity logs what it started before it completes.
        self._read_calls()
        return rests and len(self._histories.tracked) == known

    def _read_calls(self) -> None:
        with self._stage.calls.open("rb") as file:
            file.seek(self._read)
            lines = file.read()
        whole = lines[: lines.rfind(b"\n") + 1]
        self._read += len(whole)
        for line in whole.splitlines():
            call = RehearsedCall.model_validate_json(line)
            if call.how is CallOutcome.STARTED:
                self._histories.track(call.agent)
            self._story.call(call)

    def _at(self, at: datetime, act: Act) -> None:
        heapq.heappush(self._coming, (at, next(self._order), act))

    async def _took_questions(self) -> bool:
        """Let people answer new questions; False if an agent did not say what it asks."""
        for tracked in self._histories.running:
            shown = search_attributes.parse_waiting_for_approvals(tracked.waiting_for)
            known = all((tracked.id, request_id) in self._asked for request_id, _ in shown)
            if known and not search_attributes.is_cut(tracked.waiting_for):
                continue
            view = await answer_of(self._handle(tracked.id), "approvals", ApprovalsView, PATIENCE)
            if view is None:
                return False
            for request in view.open:
                if (tracked.id, request.id) not in self._asked:
                    self._asked.add((tracked.id, request.id))
                    self._story.ask(tracked.id, request)
                    self._answer(tracked, request)
        return True

    def _answer(self, tracked: Tracked, request: ApprovalRequest) -> None:
        answer = self._script.answer_to(request)
        if answer is None:
            return
        people = [answer.by] if answer.by else self._people(request)
        one = answer.says.verdict is Verdict.REJECT or bool(answer.by)
        for by in people[: 1 if one else request.policy.quorum]:
            act = self._deciding(tracked.id, request, answer, by)
            self._at(request.asked_at + answer.after, act)
        if not people:
            words = f"nobody may answer {request.id}: {request.floor or 'it names no approvers'}"
            self._story.add(Entry(at=request.asked_at, agent=tracked.id, what=EntryKind.HEARS, words=words))

    def _people(self, request: ApprovalRequest) -> list[str]:
        """Those who may decide, in the order they are named."""
        barred = "" if request.policy.requester_may_approve else request.requester
        return [who for who in self._directory.people(request.deciders) if who and who != barred]

    def _deciding(self, agent: str, request: ApprovalRequest, answer: Answer, by: str) -> Act:
        async def decide(at: datetime) -> None:
            verdict = answer.says.verdict
            if answer.edits and verdict is Verdict.APPROVE:
                verdict = Verdict.REVISE
            decision = Decision(
                id=f"rehearsed-{request.id}-{by}",
                request_id=request.id,
                digest=request.digest,
                verdict=verdict,
                edits=answer.edits if verdict is Verdict.REVISE else {},
                by=by,
                note=answer.note,
                through="rehearsal",
                at=at,
            )
            signed = self._signer.sign(decision, agent, at)
            await self._send(agent, at, "decide", signed, f"{by} says {verdict} to {request.id}")
            await self._rest()
            view = await answer_of(self._handle(agent), "approvals", ApprovalsView, PATIENCE)
            record = judged(view.decisions if view else (), decision.id)
            if record and record.reason:
                words = f"{by} is {record.status}: {record.reason}"
                self._story.add(Entry(at=at, agent=agent, what=EntryKind.HEARS, words=words))
            if view and (how := view.closed.get(request.id)):
                # The agent tells only people it knows, and in a rehearsal it knows nobody.
                kind, owner = self._histories.tracked[agent].kind, request.requester
                fields = {"id": "", "agent": agent, "kind": kind, "owner": owner, "request": request}
                self._story.tell(Notice(**fields, event=NoticeEvent.DECIDED, text=how), at)

        return decide

    async def _say(self, word: UnpromptedMessage, at: datetime) -> None:
        await self._send(word.agent, at, "tell", word.text, f"somebody tells it: {word.text}")

    async def _mail(self, word: UnpromptedMessage, at: datetime) -> None:
        mail = IncomingMail(
            message_id=f"<rehearsed-{next(self._order)}@rehearsed.invalid>",
            thread=word.thread,
            kind=MailKind.ANSWER,
            sender=f"{word.thread or 'somebody'}@rehearsed.invalid",
            subject="",
            text=word.text,
            received_at=at,
        )
        await self._send(word.agent, at, "mail", mail, f"mail of {word.thread or 'somebody'}: {word.text}")

    async def _send(self, agent: str, at: datetime, name: str, argument: Any, words: str) -> None:
        agent = agent or self._agent
        try:
            await self._handle(agent).signal(name, argument)
        except RPCError as error:
            if error.status is not RPCStatusCode.NOT_FOUND:
                raise
            words += f" (nobody hears it: {agent} does not run)"
        self._story.add(Entry(at=at, agent=agent, what=EntryKind.HEARS, words=words))

    def _handle(self, agent: str) -> WorkflowHandle[Any, Any]:
        return self._client.get_workflow_handle(agent)
