"""Similar questions of a batch's agents, decided together: one signed decision each, on what was shown.

No decision covers several questions. The person who decides was shown each question with the digest of its
plan, and a decision is signed for each; the agents judge them one by one, like any other.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Awaitable, Callable, Sequence, Set
from dataclasses import dataclass
from datetime import timedelta

from temporalio.client import Client
from temporalio.service import RPCError

from common.approval.types import (
    ApprovalRequest,
    ApprovalsView,
    DecisionRecord,
    DecisionStatus,
    LongText,
    Verdict,
    judged,
)
from common.client.batch_questions import Answered, AskedPage, ShownQuestion, asked_item, is_of
from common.client.client import AgentClient
from common.client.errors import AgentClientError, NoSuchAgentError
from common.client.inbox import ASKED_AT_ONCE
from common.client.recorded_questions import recorded_questions
from common.client.rows import AgentRow
from common.client.view import QUERY_PATIENCE, answer_of
from common.client.visibility import ASKING, items_of, quote, rows_of
from common.digest import digest
from common.names import check_words
from common.temporal import search_attributes
from common.temporal.search_attributes import MORE

# A batch may have 1,000 agents at work at once, and several batches may share an id.
MAX_ASKING = 5000
# Questions decided in one go; how long to wait, in all, for what their agents ask, and for the outcomes.
MAX_DECIDED = 200
ASKING_PATIENCE = timedelta(seconds=8)
OUTCOME_PATIENCE = timedelta(seconds=5)
# The same words whether there is no such agent, it is of another batch, or it no longer asks this person.
NOT_THERE = "nothing is asked of you there, or not any more"

# Whether somebody may see the agent, given those who may decide what it asks.
Sees = Callable[[AgentRow, Set[str]], bool]


@dataclass(frozen=True)
class BatchAnswer:
    """What a person says to several questions of a batch, through which entry point.

    ``token`` identifies this one form or command: sent again, each decision counts once. ``sees`` says
    whether the person may see an agent of that batch; otherwise it does not exist for them.
    """

    batch: str
    verdict: Verdict
    note: LongText
    by: str
    through: str
    token: str
    sees: Callable[[str], Awaitable[bool]]

    def decision_id(self, shown: ShownQuestion) -> str:
        """The id under which the decision on this question counts once."""
        parts = [self.token, self.by, shown.id, shown.request_id, shown.digest]
        return f"batch-{digest(list(parts))[:32]}"


class BatchDecisions:
    """The questions of batches."""

    def __init__(self, client: Client, agents: AgentClient) -> None:
        self._client, self._agents = client, agents
        self._free = asyncio.Semaphore(ASKED_AT_ONCE)

    async def asking(self, batch: str, sees: Sees) -> list[AgentRow]:
        """The agents of a batch, given by its id or by its agent's, that ask something; sorted by id."""
        attribute = search_attributes.BATCH_ID.name
        conditions = [
            f"({attribute} = {quote(batch)} OR {items_of(batch)})",
            ASKING,
            "ExecutionStatus = 'Running'",
        ]
        found = await rows_of(self._client, conditions, MAX_ASKING)
        rows = sorted((row for row in found if is_of(row, batch) and row.item_of), key=lambda row: row.id)
        deciders = await self._agents.asked.deciders(rows)
        return [row for row, who in zip(rows, deciders, strict=True) if MORE in who or sees(row, who)]

    async def page(
        self,
        batch: str,
        sees: Sees,
        after: str = "",
        limit: int = MAX_DECIDED,
        patience: timedelta | None = None,
    ) -> AskedPage:
        """The questions of the next `limit` agents of a batch whose ids come after `after`."""
        return await self.page_of(batch, await self.asking(batch, sees), sees, after, limit, patience)

    async def page_of(
        self,
        batch: str,
        rows: Sequence[AgentRow],
        sees: Sees,
        after: str = "",
        limit: int = MAX_DECIDED,
        patience: timedelta | None = None,
    ) -> AskedPage:
        """The same for `rows`, agents that ask something, sorted by id; `batch` may be empty."""
        rest = [row for row in rows if row.id > after]
        chosen = rest[:limit]
        until = _after(patience or ASKING_PATIENCE)
        found = await asyncio.gather(*(self._asked(row, until) for row in chosen))
        return AskedPage(
            batch=batch,
            agents=len(rows),
            items=tuple(
                asked_item(row, request)
                for row, (requests, _) in zip(chosen, found, strict=True)
                for request in requests
                if sees(row, set(request.deciders))
            ),
            recorded=tuple(
                row.id for row, (requests, live) in zip(chosen, found, strict=True) if requests and not live
            ),
            silent=tuple(
                row.id
                for row, (requests, live) in zip(chosen, found, strict=True)
                if not requests and not live
            ),
            after=chosen[-1].id if len(rest) > len(chosen) else None,
        )

    async def pages(self, batch: str, sees: Sees, patience: timedelta) -> list[AskedPage]:
        """All questions, page by page, each with this patience."""
        pages = [await self.page(batch, sees, patience=patience)]
        while pages[-1].after is not None:
            pages.append(await self.page(batch, sees, pages[-1].after, patience=patience))
        return pages

    async def answer(self, answer: BatchAnswer, shown: Sequence[ShownQuestion]) -> list[Answered]:
        """Decide `shown`, at most `MAX_DECIDED`, and say what became of each; a refusal stops no other.

        Raises:
            SettingsError: the operator's policy cannot be read, so that nothing can be approved now.
            UnusableValueError: no person may have such a name, or a rejection has no reason.
            ValidationError: the note is too long.
            RPCError: Temporal was out of reach; if sent again with the same token, each counts once.
        """
        if answer.verdict is Verdict.REJECT:
            check_words(answer.note, "the reason")
        until = _after(ASKING_PATIENCE)
        sent = await asyncio.gather(*(self._decide(answer, each, until) for each in shown[:MAX_DECIDED]))
        until = _after(OUTCOME_PATIENCE)
        return list(await asyncio.gather(*(self._judged(each, until) for each in sent)))

    async def _asked(self, row: AgentRow, until: float) -> tuple[Sequence[ApprovalRequest], bool]:
        """What an agent asks, and whether it answered itself; if not in time, its history is read."""
        view = await self._view(row.id, until)
        if view is None:
            async with self._free:
                requests = (await recorded_questions(self._client, row)).requests
        else:
            requests = view.open
        return [self._agents.floors.as_judged_now(each, row.kind) for each in requests], view is not None

    async def _view(self, id: str, until: float) -> ApprovalsView | None:
        """What an agent asks, and the decisions it got; None if no worker answers in time."""
        async with self._free:
            patience = min(QUERY_PATIENCE, timedelta(seconds=until - time.monotonic()))
            if patience <= timedelta():
                return None
            return await answer_of(self._client.get_workflow_handle(id), "approvals", ApprovalsView, patience)

    async def _decide(self, answer: BatchAnswer, shown: ShownQuestion, until: float) -> Answered:
        """Send the decision on one question, unless it is already known to be refused."""
        id = answer.decision_id(shown)

        def refused(reason: str) -> Answered:
            return _answered(shown, id, DecisionStatus.REFUSED, reason)

        view = await self._view(shown.id, until)
        async with self._free:
            # Before any check: people who have decided may no longer be asked, but still learn the outcome.
            if view and (record := judged(view.decisions, id)):
                same = (record.decision.verdict, record.decision.note) == (answer.verdict, answer.note)
                return _of(shown, record) if same else refused("it was decided otherwise by the same key")
            if not await answer.sees(shown.id):
                return refused(NOT_THERE)
            if view and (why := _changed(view, shown)):
                return refused(why)
            try:
                await self._agents.decide(
                    shown.id,
                    answer.verdict,
                    by=answer.by,
                    note=answer.note,
                    through=answer.through,
                    digest=shown.digest,
                    request_id=shown.request_id,
                    decision_id=id,
                    known=True,
                )
            except NoSuchAgentError:
                return refused("it is not asked any more: the agent has ended")
            except AgentClientError as error:
                return refused(str(error))
        return _answered(shown, id, DecisionStatus.WAITING, "it counts as soon as a worker takes it")

    async def _judged(self, answered: Answered, until: float) -> Answered:
        """What the agent made of a decision that was sent, if it says so in time."""
        if answered.status is not DecisionStatus.WAITING:
            return answered
        async with self._free:
            left = timedelta(seconds=until - time.monotonic())
            try:
                record = await self._agents.outcome(answered.id, answered.decision_id, left)
            except (RPCError, RuntimeError):
                return answered  # the decision itself is safe with Temporal
        return answered if record is None else _of(answered, record)


def _after(patience: timedelta) -> float:
    return time.monotonic() + patience.total_seconds()


def new_token() -> str:
    """A token for one form or command."""
    return secrets.token_hex(12)


def _changed(view: ApprovalsView, shown: ShownQuestion) -> str:
    """Why what was shown is not what is asked now; empty if it is."""
    request = next((each for each in view.open if each.id == shown.request_id), None)
    if request is None:
        how = view.closed.get(shown.request_id)
        return f"it is not asked any more: {how}" if how else "it is not asked any more"
    if request.digest != shown.digest:
        return f"it has changed since it was shown: its plan is {request.digest[:12]} now"
    return ""


def _answered(shown: ShownQuestion, id: str, status: DecisionStatus, reason: str) -> Answered:
    named = {"id": shown.id, "request_id": shown.request_id, "digest": shown.digest}
    return Answered(**named, decision_id=id, status=status, reason=reason)


def _of(shown: ShownQuestion | Answered, record: DecisionRecord) -> Answered:
    return Answered(
        id=shown.id,
        request_id=shown.request_id,
        digest=shown.digest,
        decision_id=record.decision.id,
        status=record.status,
        reason=record.reason,
    )
