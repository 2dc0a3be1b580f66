"""What waits for people: the open requests of running agents, from visibility or the agents themselves."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass
from datetime import datetime, timedelta

from temporalio.client import Client

from common.approval.floors import Floors
from common.approval.types import ApprovalRequest, ApprovalsView, DecisionRecord, DecisionStatus
from common.client.errors import NoSuchAgentError, for_agent
from common.client.recorded_questions import RecordedQuestions, recorded_questions
from common.client.rows import AgentRow, InboxRow, row_of
from common.client.view import QUERY_PATIENCE, answer_of
from common.client.visibility import ASKING, quote, rows_of
from common.temporal import search_attributes
from common.temporal.search_attributes import MORE

# For programs: how many of the newest rows get their questions, and how long to wait for these.
QUESTIONS_TOLD, QUESTION_PATIENCE = 100, timedelta(seconds=1)
# How many agents are asked in parallel.
ASKED_AT_ONCE = 20

# How many answers of agents are kept.
MAX_ANSWERS = 5000
# How far the policy file's clock may be from that of the agents, which count whole seconds.
CLOCKS_DIFFER = timedelta(seconds=2)

# Requests as id and digest.
Requests = list[tuple[str, str]]


@dataclass(frozen=True)
class OpenQuestion:
    """An open question in full: the request, and who has sent a decision that is not judged yet.

    `live` is false if no worker answered, and it was read from the agent's history.
    """

    request: ApprovalRequest
    undecided: tuple[DecisionRecord, ...] = ()
    live: bool = True

    @property
    def said_by(self) -> tuple[str, ...]:
        """Who has decided already."""
        votes = [vote.decision.by for vote in self.request.votes]
        return tuple(dict.fromkeys([*votes, *(each.decision.by for each in self.undecided)]))

    def overdue(self, now: datetime) -> bool:
        """Whether the last reminder has passed, or it was escalated, or has expired."""
        request = self.request
        ends = [each for each in (request.escalate_at, request.expires_at) if each]
        last = [request.remind_at[-1]] if request.remind_at else []
        return request.escalated or any(at <= now for at in (*ends, *last))


class Inbox:
    """The open requests of running agents, by visibility and the operator's policy as it is now."""

    def __init__(self, client: Client, floors: Floors) -> None:
        self._client, self._floors = client, floors
        # The answers of agents that had to be asked themselves; each is asked once.
        self._answers: dict[tuple[object, ...], tuple[ApprovalRequest, ...]] = {}

    async def open_requests(self, names: Set[str], limit: int) -> list[InboxRow]:
        """The open requests of the newest ``limit`` agents that ask anybody or, if given, one of ``names``.

        They come from visibility alone, which needs no worker and is quick. Only agents that ask more, or
        more people, than their search attributes hold, or that asked before the policy changed, are asked
        themselves; if one does not answer, its history is read. A row whose request is `MORE` stands for
        further requests of such an agent that cannot be known just now.
        """
        conditions = [ASKING, "ExecutionStatus = 'Running'"]
        if names:
            literals = ", ".join(map(quote, [*sorted(names), MORE]))
            asked = f"{search_attributes.APPROVERS.name} IN ({literals})"
            if changed_at := self._floors.changed_at():
                since = search_attributes.NODE_SINCE.name
                asked = f"({asked} OR {since} < '{(changed_at + CLOCKS_DIFFER).isoformat()}')"
            conditions.append(asked)
        rows = await rows_of(self._client, conditions, limit)
        free, silent = asyncio.Semaphore(ASKED_AT_ONCE), set[str]()

        async def requests_of(row: AgentRow) -> tuple[Requests, Sequence[str]]:
            if not self._holds_more(row, names):
                return _in_attributes(row, names), row.approvers
            async with free:
                return await self._asked(row, names, silent)

        found = await asyncio.gather(*map(requests_of, rows))
        return [
            InboxRow(**row.model_dump() | {"approvers": approvers}, request_id=request_id, digest=digest)
            for row, (requests, approvers) in zip(rows, found, strict=True)
            for request_id, digest in requests
        ]

    async def deciders(self, rows: Sequence[AgentRow]) -> list[Set[str]]:
        """Who may now decide what each of these agents asks; includes `MORE` if there may be others."""
        free, silent = asyncio.Semaphore(ASKED_AT_ONCE), set[str]()

        async def of(row: AgentRow) -> Set[str]:
            if MORE not in row.approvers and not self._may_have_changed(row):
                return set(row.approvers)
            async with free:
                return set((await self._asked(row, set(), silent))[1])

        return await asyncio.gather(*map(of, rows))

    def _may_have_changed(self, row: AgentRow) -> bool:
        """Whether the policy may by now ask other people than the agent's search attribute names.

        The agent updates the attribute with its next decision, reminder or question.
        """
        changed_at = self._floors.changed_at()
        if changed_at is None:
            return False
        return row.node_since is None or row.node_since < changed_at + CLOCKS_DIFFER

    async def how_ended(self, id: str, request_id: str, digest: str, patience: timedelta) -> str:
        """How a request ended, in words; empty while it is open, or if nobody can say in time."""
        how = await how_request_ended(self._client, id, request_id, digest, exactly=False, patience=patience)
        return how or ""

    def _holds_more(self, row: AgentRow, names: Set[str]) -> bool:
        """Whether only the agent knows everything it asks, or whether it asks one of ``names``."""
        unsure = bool(names) and MORE in row.approvers and not names & set(row.approvers)
        return unsure or self._may_have_changed(row) or search_attributes.is_cut(row.waiting_for)

    async def _asked(
        self, row: AgentRow, names: Set[str], silent: set[str]
    ) -> tuple[Requests, Sequence[str]]:
        """What an agent asks, and whom, from it or its history; ``silent`` are queues without an answer."""
        key, is_cut = (row.run_id, row.waiting_for, *row.approvers), search_attributes.is_cut(row.waiting_for)
        asked = self._answers.get(key)
        if asked is None:
            view = None if row.queue in silent else await approvals_of(self._client, row, QUERY_PATIENCE)
            if view is None:
                silent.add(row.queue)
            known = set(search_attributes.parse_waiting_for_approvals(row.waiting_for))
            found = (await recorded_questions(self._client, row)).requests if view is None else view.open
            is_whole = view is not None or (not is_cut and len(found) == len(known))
            if not is_whole:
                # Nobody can say whom the other requests ask.
                requests = _in_attributes(row, set())
                named = names & {*row.approvers, *_deciders(self._judged(row, found))}
                return (requests if named or not names else []), row.approvers
            asked = tuple(each.model_copy(update={"plan": {}, "evidence": ()}) for each in found)
            if not is_cut and MORE not in row.approvers:
                while len(self._answers) >= MAX_ANSWERS:
                    self._answers.pop(next(iter(self._answers)))
                self._answers[key] = asked
        deciders = _deciders(self._judged(row, asked))
        if names and not names & set(deciders):
            return [], deciders
        return [(each.id, each.digest) for each in asked], deciders

    def _judged(self, row: AgentRow, requests: Iterable[ApprovalRequest]) -> list[ApprovalRequest]:
        return [self._floors.as_judged_now(each, row.kind) for each in requests]


async def approvals_of(client: Client, row: AgentRow, patience: timedelta) -> ApprovalsView | None:
    """What an agent says it asks; None if no worker answers in time."""
    return await answer_of(client.get_workflow_handle(row.id), "approvals", ApprovalsView, patience)


def group_similar(rows: Iterable[InboxRow]) -> list[InboxRow]:
    """The rows, with one row for similar questions of a batch's agents: at the same node, of the same people.

    Visibility knows no more about a question. People who decide them together are shown each, grouped by
    words and policies; see `common/client/batch_questions.py`.
    """
    found = dict[tuple[object, ...], InboxRow]()
    for row in rows:
        alike = (row.batch_id, row.kind, node_of(row.request_id), *sorted(row.approvers))
        key = alike if row.item_of and row.digest else (row.run_id, row.request_id)
        first = found.setdefault(key, row)
        if first is not row:
            first.count += 1
    return list(found.values())


async def open_questions(
    client: Client, floors: Floors, rows: Sequence[AgentRow], patience: timedelta
) -> dict[tuple[str, str], OpenQuestion]:
    """The open questions of these agents, by agent and request.

    An agent is asked for as long as `patience`, then its history is read. Questions in neither are left out.
    """
    free = asyncio.Semaphore(ASKED_AT_ONCE)

    async def asked_by(row: AgentRow) -> RecordedQuestions | ApprovalsView:
        view = await approvals_of(client, row, patience)
        if view is not None:
            return view
        async with free:
            return await recorded_questions(client, row)

    rows = list({row.id: row for row in rows}.values())
    found = dict[tuple[str, str], OpenQuestion]()
    for row, told in zip(rows, await asyncio.gather(*map(asked_by, rows)), strict=True):
        live = isinstance(told, ApprovalsView)
        for request in told.open if isinstance(told, ApprovalsView) else told.requests:
            sent = tuple(
                each
                for each in told.decisions
                if each.status is DecisionStatus.WAITING and each.decision.request_id == request.id
            )
            found[row.id, request.id] = OpenQuestion(floors.as_judged_now(request, row.kind), sent, live)
    return found


def with_questions(
    rows: Sequence[InboxRow], questions: Mapping[tuple[str, str], OpenQuestion], now: datetime
) -> list[InboxRow]:
    """The rows, with the question where it was found."""
    told = {
        key: {
            "question": each.request.question,
            "asked_at": each.request.asked_at,
            "decided": each.said_by,
            "overdue": each.overdue(now),
        }
        for key, each in questions.items()
    }
    return [row.model_copy(update=told.get((row.id, row.request_id))) for row in rows]


async def how_request_ended(
    client: Client,
    agent: str,
    request_id: str,
    digest: str,
    *,
    exactly: bool,
    patience: timedelta = QUERY_PATIENCE,
) -> str | None:
    """How a request ended, in words; empty while it is open; None if nobody can say just now.

    Args:
        client: a client of the agent's namespace.
        agent: the id of the agent that asked.
        request_id: the id of the request.
        digest: the digest of its plan.
        exactly: ask the agent itself; otherwise its search attributes suffice, which need no replay but may
            lag behind.
        patience: how long to wait for the agent's answer.
    """
    handle = client.get_workflow_handle(agent)
    try:
        async with for_agent(agent):
            row = row_of(await handle.describe())
    except NoSuchAgentError:
        return "the agent has ended"
    if not row.running:
        view = await approvals_of(client, row, patience)
        how = view.closed.get(request_id) if view else None
        return how or f"{'not answered, ' if view else ''}the agent has ended: {row.status}"
    is_named = (request_id, digest) in search_attributes.parse_waiting_for_approvals(row.waiting_for)
    if is_named and not exactly:
        return ""
    view = await approvals_of(client, row, patience)
    if view is not None and (how := view.closed.get(request_id)):
        return how
    # A request can be decided even if its agent cannot answer: decisions wait with Temporal.
    is_open = is_named or (view is not None and any(each.id == request_id for each in view.open))
    return "" if is_open else None


def node_of(request_id: str) -> str:
    """The node at which an agent asks, taken from the request's id."""
    return request_id.rpartition("-")[0]


def _in_attributes(row: AgentRow, names: Set[str]) -> Requests:
    if names and not names & set(row.approvers):  # some databases ignore case and accents
        return []
    requests = search_attributes.parse_waiting_for_approvals(row.waiting_for)
    return [*requests, (MORE, "")] if search_attributes.is_cut(row.waiting_for) else requests


def _deciders(requests: Iterable[ApprovalRequest]) -> list[str]:
    return list(dict.fromkeys(name for each in requests for name in each.deciders))
