"""The questions of a batch's agents as shown to people, which of them are alike, and decisions on them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

from pydantic import BaseModel, Field, JsonValue

from common.agents.batch import item_agent_id
from common.approval.types import ApprovalRequest, DecisionStatus, Verdict
from common.client.rows import AgentRow
from common.digest import digest


class ShownQuestion(BaseModel, frozen=True):
    """A question as somebody was shown it: the agent, its request, and the digest of the plan."""

    id: str = Field(min_length=1, max_length=200)
    request_id: str = Field(min_length=1, max_length=200)
    digest: str = Field(pattern="^[0-9a-f]{64}$")


class AskedItem(ShownQuestion, frozen=True):
    """An open question of an agent of a batch.

    `key` names the item of the batch of `item_of`, as the agent's id does. Questions with the same `group`
    are alike: of one batch, kind and node, in the same words but for what the plans differ in, under the same
    policy.
    """

    key: str
    item_of: str
    kind: str
    node: str
    group: str
    question: str
    plan: dict[str, Any]
    evidence: tuple[str, ...] = ()
    deciders: tuple[str, ...] = ()
    standing: str = ""


class AskedPage(BaseModel, frozen=True):
    """One page of a batch's questions, ordered by agent id; `after` is the last id if more follow.

    `agents` counts all agents of the batch with a question. No worker answers for the agents in `recorded`
    and `silent`: the questions of the first come from their histories, those of the second are unknown.
    """

    batch: str
    agents: int
    items: tuple[AskedItem, ...] = ()
    silent: tuple[str, ...] = ()
    recorded: tuple[str, ...] = ()
    after: str | None = None


class Answered(BaseModel, frozen=True):
    """What became of the decision on one question; `reason` says why it does not count, or not yet."""

    id: str
    request_id: str
    digest: str
    decision_id: str
    status: DecisionStatus
    reason: str = ""


class AllAnswered(BaseModel, frozen=True):
    """The outcome of answering all: how many decisions count, are refused, or wait for a worker, and each."""

    batch: str
    verdict: Verdict
    counted: int
    refused: int
    waiting: int
    results: tuple[Answered, ...]

    @classmethod
    def of(cls, batch: str, verdict: Verdict, results: Sequence[Answered]) -> AllAnswered:
        """The sum of `results`."""
        counts = {
            status.value: sum(each.status is status for each in results)
            for status in (DecisionStatus.COUNTED, DecisionStatus.REFUSED, DecisionStatus.WAITING)
        }
        return cls(batch=batch, verdict=verdict, results=tuple(results), **counts)


def is_of(row: AgentRow, batch: str) -> bool:
    """Whether an agent belongs to a batch, given by the batch's id or by its agent's."""
    return bool(batch) and batch in (row.batch_id, row.item_of)


def key_of(row: AgentRow) -> str:
    """The key of an agent's item, as the agent's id has it."""
    return row.id.removeprefix(f"{row.item_of}.")


def is_item(id: str, item_of: str, key: str) -> bool:
    """Whether the agent with this id does the item `key`, which may also be the agent's own id."""
    return key in (id, id.removeprefix(f"{item_of}.")) or id == item_agent_id(item_of, key)


def shape_of(question: str, plan: dict[str, Any], key: str = "") -> str:
    """The words of a question without what is specific to this plan: its values, its key, numbers."""
    for value in sorted({key, *_texts(plan)}, key=len, reverse=True):
        if value and value in question:
            question = re.sub(rf"(?<!\w){re.escape(value)}(?!\w)", "…", question)
    return re.sub(r"\d[\d.,:/-]*", "…", question)


def asked_item(row: AgentRow, request: ApprovalRequest) -> AskedItem:
    """A request of a batch's agent, as it is shown to people."""
    node, key = request.id.rpartition("-")[0], key_of(row)
    alike: JsonValue = {
        "batch": row.batch_id,
        "kind": row.kind,
        "node": node,
        "question": shape_of(request.question, request.plan, key),
        "plan": [*sorted(request.plan)],
        "policy": request.policy.model_dump(mode="json"),
    }
    return AskedItem(
        id=row.id,
        request_id=request.id,
        digest=request.digest,
        key=key,
        item_of=row.item_of,
        kind=row.kind,
        node=node,
        group=digest(alike)[:8],
        question=request.question,
        plan=request.plan,
        evidence=request.evidence,
        deciders=request.deciders,
        standing=request.standing if request.policy.quorum > 1 else "",
    )


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list | tuple):
        for each in value:
            yield from _texts(each)
    elif value is not None and not isinstance(value, bool):
        yield str(value)
