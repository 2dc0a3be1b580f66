"""What every entry point does with agents: start, show, list, decide, steer, end."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from pydantic import JsonValue
from temporalio.client import Client, WorkflowExecutionDescription
from temporalio.common import (
    SearchAttributePair,
    TypedSearchAttributes,
    WorkflowIDConflictPolicy,
    WorkflowIDReusePolicy,
)
from temporalio.exceptions import TemporalError, WorkflowAlreadyStartedError
from temporalio.service import RPCError, RPCStatusCode

from common.agents.agent import AgentInput, Receipt, Receipts, WakeUp, memo_of, summary_of
from common.agents.asking import AskingInput
from common.agents.batch import BatchCommand, BatchStatus
from common.agents.fields import paths_of
from common.approval.floors import Floors, PolicyRefusedError, Rule
from common.approval.groups import Directory
from common.approval.link import AnswerLink
from common.approval.signing import Signer
from common.approval.types import (
    GROUP,
    ApprovalRequest,
    ApprovalsView,
    Decision,
    DecisionRecord,
    DecisionStatus,
    Verdict,
    judged,
)
from common.client.batches import standings_of
from common.client.diagnosis import Diagnosis
from common.client.errors import (
    AgentClientError,
    NoSuchAgentError,
    NothingToDecideError,
    StartRefusedError,
    for_agent,
    one_open_request,
    taken,
)
from common.client.filters import AgentFilter
from common.client.inbox import Inbox, OpenQuestion, group_similar, open_questions
from common.client.letter_links import answer_by, asked_by
from common.client.limits import OwnerQuota, check_room, priority_of, send_past_limit
from common.client.recorded_questions import fill_recorded_questions
from common.client.rows import AgentRow, InboxRow, row_of
from common.client.view import (
    QUERY_PATIENCE,
    AgentView,
    Ending,
    answer_of,
    ending_of,
    found_in_answers,
    patient_view_of,
)
from common.client.visibility import exactly, is_exactly, rows_of
from common.mail import ChoiceView
from common.names import UnusableValueError, check_agent_id, check_approver, check_person, check_words
from common.roots import Roots, check_path
from common.settings import Settings
from common.temporal import search_attributes

# The memo field with the digest of the request that started the agent.
REQUEST_DIGEST = "request"


class AgentClient:
    """Starts, shows, decides for and steers agents, for every entry point.

    Every method may raise ``RPCError``: Temporal was out of reach for longer than the client's patience.

    Attributes:
        floors: the operator's policy.
        asked: the questions that wait for people.
        diagnosis: finds out why agents make no progress.
    """

    def __init__(self, client: Client, settings: Settings, signer: Signer) -> None:
        self._client = client
        self._settings = settings
        self._signer = signer
        self._directory = Directory.load(settings)
        self.floors = Floors.load(settings)
        self.asked = Inbox(client, self.floors)
        self.diagnosis = Diagnosis(client, self._directory, settings.task_queue)
        self._quota = OwnerQuota(client, settings.working_agents)
        self._roots = Roots.load(settings)

    async def start(
        self, kind: str, input: AgentInput, *, id: str | None = None, owner: str, request: str = ""
    ) -> str:
        """Start an agent and return its id, by default `<kind>-<8 hex digits>`.

        A start is idempotent by ``request``, the digest of the request that asks for it: repeated with the
        same digest, it returns the id and starts nothing.

        Raises:
            AgentExistsError: there is or was an agent with that id.
            StartRefusedError: the operator's policy does not allow it to the owner.
            SettingsError: that policy cannot be read.
            TooManyAgentsError: the owner has the maximum number of agents at work.
            UnusableValueError: no agent may have such an id, no person such a name, or the owner's agents
                may not use such a path.
        """
        id = check_agent_id(id or f"{kind}-{uuid.uuid4().hex[:8]}")
        await self.check_start(kind, input, owner)
        memo = memo_of(input) | ({REQUEST_DIGEST: request} if request else {})
        try:
            await self._client.start_workflow(
                kind,
                input,
                id=id,
                task_queue=self._settings.task_queue,
                id_reuse_policy=WorkflowIDReusePolicy.REJECT_DUPLICATE,
                id_conflict_policy=WorkflowIDConflictPolicy.FAIL,
                memo=memo or None,
                static_summary=summary_of(input),
                priority=priority_of(owner),
                search_attributes=TypedSearchAttributes(
                    [SearchAttributePair(search_attributes.OWNER, owner)]
                ),
            )
        except WorkflowAlreadyStartedError:
            if request and await (await self.describe(id)).memo_value(REQUEST_DIGEST, None) == request:
                return id
            raise taken(id) from None
        return id

    def start_rule(self, kind: str, owner: str) -> Rule:
        """What the operator's policy says about agents of this kind that work for ``owner``.

        Raises:
            SettingsError: that policy cannot be read.
        """
        return self.floors.rule(kind, owner)

    async def check_start(self, kind: str, input: AgentInput, owner: str) -> None:
        """Check that ``owner`` may start such an agent, and count it; raises as ``start`` does."""
        check_person(owner)
        if isinstance(input, AskingInput):
            self._check_approvers(input.approvers)
        # For a clear error early on; what counts is the same check when an activity opens the path.
        for field, path in paths_of(input):
            check_path(self._roots.of(owner), field, path)
        try:
            self.floors.check_start(kind, owner, input)
        except PolicyRefusedError as error:
            raise StartRefusedError(str(error)) from None
        await self._quota.take(owner)

    async def view(
        self,
        id: str,
        described: WorkflowExecutionDescription | None = None,
        within: timedelta = QUERY_PATIENCE,
    ) -> AgentView:
        """The view of the agent's latest run, or of the run that was ``described``.

        If no worker answers ``within`` that time, what it asks is read from its history.

        Raises:
            NoSuchAgentError: there is no agent with that id.
        """
        described = described or await self.describe(id)
        # A worker evicts a run as it ends, and drops the queries of that moment.
        view = await patient_view_of(self._client, described, 1 if row_of(described).running else 2, within)
        await fill_recorded_questions(self._client, view)
        view.requests = [self.floors.as_judged_now(each, view.kind) for each in view.requests]
        view.approval = next(iter(view.requests), None)
        view.trouble = await self.diagnosis.of(described, datetime.now(UTC), view.requests)
        return view

    async def list_agents(self, wanted: AgentFilter, limit: int = 100) -> list[AgentRow]:
        """The newest ``limit`` agents with exactly these values now, one row a run."""
        rows = await rows_of(self._client, exactly(wanted), limit)
        return [row for row in rows if is_exactly(row, wanted)]

    async def inbox(self, who: str | None = None, limit: int = 5000) -> list[InboxRow]:
        """The open requests of running agents, all or those ``who`` may decide; newest agents first.

        An agent with several open requests is listed with all of them if ``who`` may decide one. Similar
        questions of the agents of one batch are one row.
        """
        names = set[str]()
        if who is not None:
            names = {who, *(GROUP + group for group in self._directory.groups_of(who))}
        return group_similar(await self.asked.open_requests(names, limit))

    async def questions(
        self, rows: Sequence[AgentRow], patience: timedelta
    ) -> dict[tuple[str, str], OpenQuestion]:
        """The open questions of these agents by agent and request, with or without a worker."""
        return await open_questions(self._client, self.floors, rows, patience)

    async def batches(self, rows: Sequence[AgentRow], patience: timedelta) -> dict[str, BatchStatus]:
        """The status of the batches that ``rows`` have under way, by id, if their agents answer in time."""
        return await standings_of(self._client, rows, patience)

    async def refresh_premises(self, id: str, request_id: str, patience: timedelta) -> ApprovalRequest | None:
        """An open request with its premises refreshed; None if they just were, or it takes too long."""
        update = self._client.get_workflow_handle(id).execute_update(
            "look", request_id, result_type=ApprovalRequest
        )
        try:
            found: ApprovalRequest | None = await asyncio.wait_for(update, patience.total_seconds())
        except (TimeoutError, TemporalError):
            return None
        return found

    async def decide(
        self,
        id: str,
        verdict: Verdict,
        *,
        by: str,
        note: str = "",
        edits: dict[str, JsonValue] | None = None,
        through: str,
        digest: str = "",
        decision_id: str = "",
        request_id: str = "",
        known: bool = False,
    ) -> Decision:
        """Sign a decision for the agent's open request and send it, once.

        Temporal keeps it if no worker runs; ``outcome`` says what the agent made of it.

        Args:
            id: the agent.
            verdict: an approval with ``edits`` becomes a revision.
            by: who decides, an opaque id.
            note: the approver's note.
            edits: fields of the plan to change.
            through: the entry point it came through, such as `cli`.
            digest: a prefix of the digest that the approver saw; empty for the open one.
            decision_id: the decision counts once by this id; generated if empty.
            request_id: the request that is meant, if several may be open.
            known: the request id and full digest are known to belong to a request, so skip the lookup.

        Raises:
            NoSuchAgentError: there is no agent with that id.
            NothingToDecideError: no request is open, or none with that digest.
            AgentClientError: the digest fits several open requests.
            SettingsError: the operator's policy cannot be read, so that nothing can be approved now.
            UnusableValueError: no person may have such a name, or a rejection has no reason.
            ValidationError: a text is too long or empty.
        """
        check_person(by)
        if verdict is Verdict.REJECT:
            check_words(note, "the reason")
        if verdict is not Verdict.REJECT:
            self.floors.check()
        if not known:
            request_id, digest = await self._open_request(id, digest, request_id)
        now = datetime.now(UTC)
        decision = Decision(
            # Unique within its agent. Short, because history holds it twice: with the decision and the
            # action.
            id=decision_id or uuid.uuid4().hex[:16],
            request_id=request_id,
            digest=digest,
            verdict=Verdict.REVISE if edits and verdict == Verdict.APPROVE else verdict,
            edits=edits or {},
            by=by,
            note=note,
            through=through,
            at=now,
        )
        signed = self._signer.sign(decision, id, now)
        await self._signal(id, "decide", signed.model_dump(mode="json", exclude_defaults=True))
        return decision

    async def outcome(
        self, id: str, decision_id: str, patience: timedelta = timedelta(seconds=5)
    ) -> DecisionRecord | None:
        """What became of a decision; None if the agent has not judged it within ``patience``."""

        def read(view: ApprovalsView) -> DecisionRecord | None:
            record = judged(view.decisions, decision_id)
            return record if record and record.status is not DecisionStatus.WAITING else None

        handle = self._client.get_workflow_handle(id)
        return await found_in_answers(handle, "approvals", ApprovalsView, read, patience)

    async def tell(self, id: str, text: str) -> str:
        """Instruct the agent in words. Like the other steering methods, returns the id of the ``receipt``.

        Raises:
            NoSuchAgentError: there is no agent with that id, or it has ended.
            TooMuchSaidError: its history only has room for more important signals.
            UnusableValueError: the text is empty or too long.
        """
        check_words(text, "what it is told")
        return await self._steer(id, "tell", text, nonessential=True)

    async def choice(self, link: AnswerLink) -> ChoiceView | None:
        """The state of a letter's link; None if no worker answers.

        Raises:
            NoSuchAgentError: the agent has ended.
        """
        row = row_of(await self.describe(link.agent))
        if not row.running:
            raise NoSuchAgentError(f"agent {link.agent} has ended: it is {row.status}.")
        handle = self._client.get_workflow_handle(link.agent)
        return await answer_of(handle, "choice", ChoiceView, arguments=[asked_by(link)])

    async def choose(self, link: AnswerLink, token: str) -> None:
        """Send the agent the answer of a link, `token`; the agent verifies it, and counts one per letter.

        Raises:
            NoSuchAgentError: the agent has ended.
        """
        mail = answer_by(link, token)
        await self._signal(link.agent, "mail", mail.model_dump(mode="json", exclude_defaults=True))

    async def pause(self, id: str) -> str:
        """Ask the agent to start nothing new until ``resume``."""
        return await self._steer(id, "pause")

    async def resume(self, id: str) -> str:
        """End a pause."""
        return await self._steer(id, "resume")

    async def wake(self, id: str, until: datetime | None = None) -> str:
        """End the agent's sleep now, or move its end to ``until``."""
        return await self._steer(id, "wake", *([WakeUp(until=until)] if until else []))

    async def upgrade(self, id: str) -> str:
        """Ask the agent to start its history afresh, and so continue on the current build."""
        return await self._steer(id, "upgrade")

    async def batch(self, id: str, command: BatchCommand) -> str:
        """Change the batch that the agent has under way."""
        sent = command.model_dump(mode="json", exclude_defaults=True)
        return await self._steer(id, "batch", sent, nonessential=bool(command.more))

    async def receipt(
        self, id: str, receipt: str, patience: timedelta = timedelta(seconds=5)
    ) -> Receipt | None:
        """What came of a signal; None if the agent has not said within ``patience``.

        Temporal keeps the signal, and the agent takes it once a worker runs.
        """
        handle = self._client.get_workflow_handle(id)
        return await found_in_answers(
            handle, "receipts", Receipts, lambda each: each.receipts.get(receipt), patience
        )

    async def cancel(self, id: str) -> None:
        """Ask the agent to end; it cleans up first."""
        row = row_of(await self.describe(id))
        if not row.running:
            raise NoSuchAgentError(f"agent {id} has ended: it is {row.status}.")
        async with for_agent(id):
            await self._client.get_workflow_handle(id).cancel()

    async def ending(self, id: str, *, wait: bool) -> Ending:
        """How the agent closed; without ``wait``, it may say that the agent still runs.

        Raises:
            NoSuchAgentError: there is no agent with that id.
        """
        row = row_of(await self.describe(id))
        return await ending_of(self._client, row, wait=wait)

    async def describe(self, id: str) -> WorkflowExecutionDescription:
        """What Temporal knows about the agent's latest run; needs no worker.

        Raises:
            NoSuchAgentError: there is no agent with that id.
        """
        async with for_agent(id):
            return await self._client.get_workflow_handle(id).describe()

    def _check_approvers(self, names: Sequence[str]) -> None:
        for name in map(check_approver, names):
            if name.startswith(GROUP) and not self._directory.people([name]):
                raise UnusableValueError(f"nobody is in the group {name}, so that nobody could approve.")

    async def _open_request(self, id: str, digest: str, request_id: str) -> tuple[str, str]:
        """Request id and digest of the open request; Temporal has them even if no worker answers."""
        description = await self.describe(id)
        row = row_of(description)
        if not row.running:
            raise NothingToDecideError(f"nothing to decide: agent {id} is {row.status}.")
        handle = self._client.get_workflow_handle(id)
        view = await answer_of(handle, "approvals", ApprovalsView, QUERY_PATIENCE)
        if view:
            requests = [(request.id, request.digest) for request in view.open]
        else:
            requests = search_attributes.parse_waiting_for_approvals(row.waiting_for)
            if search_attributes.is_cut(row.waiting_for) and (request_id, digest) not in requests:
                raise AgentClientError(
                    f"agent {id} asks more than can be listed, and does not answer just now: start a worker."
                )
        return one_open_request(id, requests, digest, request_id)

    async def _steer(self, id: str, name: str, *arguments: Any, nonessential: bool = False) -> str:
        check_room(await self.describe(id), nonessential=nonessential)
        receipt = uuid.uuid4().hex
        await self._signal(id, name, *arguments, {"receipt": receipt}, nonessential=nonessential)
        return receipt

    async def _signal(self, id: str, name: str, *arguments: Any, nonessential: bool = False) -> None:
        # No retry loop: the client itself retries under one request id, so the server takes it once.
        try:
            await self._client.get_workflow_handle(id).signal(name, args=arguments)
        except RPCError as error:
            if error.status is RPCStatusCode.INVALID_ARGUMENT and "limit for signal" in error.message:
                return await send_past_limit(self._client, id, name, arguments, nonessential=nonessential)
            if error.status is not RPCStatusCode.NOT_FOUND:
                raise
            row = row_of(await self.describe(id))
            raise NoSuchAgentError(f"agent {id} has ended: it is {row.status}.") from None
