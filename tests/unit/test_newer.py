"""What newer code sent: a destructive request is done as a whole or not at all, and memory loses nothing."""

from __future__ import annotations

from contextvars import copy_context
from datetime import UTC, datetime
from typing import Any

import pytest
from pydantic import BaseModel, Field
from pydantic_core import to_json
from temporalio.exceptions import ApplicationError

from activities.mail.sending import SendLetter
from common.agents.agent import Carried
from common.approval.types import ApprovalPolicy, Authorization, Decision, Verdict, Vote
from common.mail import Letter, LetterPlan
from common.temporal.converter import AgentPayloadConverter
from common.temporal.newer import require_known


class Item(BaseModel):
    name: str


class Plan(BaseModel):
    items: tuple[Item, ...] = ()
    note: str = Field("", exclude_if=lambda note: not note)


class Request(BaseModel):
    plan: Plan
    authorization: Any = None


class Authorized(Request):
    authorization: Authorization | None = None


class Look(BaseModel):
    plan: Plan


class Letters(LetterPlan):
    why: str = "they asked"


DECISION = Decision(
    id="d1", request_id="approval-1", digest="f" * 64, verdict=Verdict.APPROVE, by="ann", note="fine"
)
AUTHORIZATION = Authorization(
    votes=(Vote(decision=DECISION),),
    policy=ApprovalPolicy(approvers=("ann",)),
    requester="bob",
    key=f"a:act:{DECISION.digest}",
)
WHOLE = {"plan": {"items": [{"name": "a"}]}, "authorization": None}


def given(value: object, kind: type) -> None:
    """As an activity is handed its argument, each in a context of its own."""

    def taken() -> None:
        converter = AgentPayloadConverter()
        converter.from_payloads(converter.to_payloads([value]), [kind])
        require_known()

    copy_context().run(taken)


@pytest.mark.parametrize(
    "more",
    [
        {"shred": True},
        {"plan": {"reason": "because"}},
        {"plan": {"items": [{"name": "a", "size": 1}]}},
    ],
    ids=["its own", "of the plan", "of a part"],
)
def test_a_destructive_request_with_a_field_unknown_here_is_for_another_worker(more: dict[str, Any]) -> None:
    """Wherever it is; what only looks does without."""
    with pytest.raises(ApplicationError, match="NewerRequest: Request has fields") as raised:
        given(WHOLE | more, Request)
    assert not raised.value.non_retryable
    given(WHOLE | more, Look)


def test_a_request_of_the_same_code_or_of_older_is_taken() -> None:
    """Nothing is unknown where defaults are missing, votes have no names, or a plan takes further fields."""
    given(WHOLE, Request)
    given({"plan": {}}, Request)
    given(Request(plan=Plan(note="x")), Request)
    letter = Letter(key="k", agent="a", to="ann@example.com", subject="Hello", text="How are you?")
    plan = Letters(letters=(letter,))
    given(SendLetter(plan=plan, letter=letter, authorization=AUTHORIZATION), SendLetter)


def test_a_vote_of_newer_code_is_for_another_worker() -> None:
    """Its signature covers what is unknown here."""
    votes = AUTHORIZATION.model_dump(mode="json")
    votes["votes"][0][-1]["seen_at"] = "2026-12-01"
    with pytest.raises(ApplicationError, match="NewerRequest"):
        given({"plan": {}, "authorization": votes}, Authorized)


def test_memory_keeps_what_newer_code_wrote() -> None:
    """Where older code starts a history afresh meanwhile; what it does know is as it leaves it."""
    before = Carried(started_at=datetime.now(UTC), memory={"items": [{"name": "a"}], "note": "b", "looks": 3})
    after = before.with_memory(Plan(items=(Item(name="c"),)))
    assert after.memory == {"items": [{"name": "c"}], "looks": 3}
    assert before.with_memory(None).memory is None
    assert to_json(Carried(started_at=before.started_at).with_memory(Plan()).memory) == b'{"items":[]}'
