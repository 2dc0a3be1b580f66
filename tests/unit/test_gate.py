"""The gate's rules, without Temporal."""

from __future__ import annotations

import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from types import FrameType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.agents.agent import Approvals
from common.approval.types import (
    ALREADY_RECEIVED,
    ApprovalPolicy,
    ApprovalRequest,
    Decision,
    DecisionStatus,
    Signature,
    Verdict,
    judged,
)
from workflows.core.gate import MAX_CLOSED, MAX_RECORDS, MAX_WAITING, Gate, refusal

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)


def request(**changes: object) -> ApprovalRequest:
    fields: dict[str, object] = {
        "id": "r-1",
        "question": "Go?",
        "plan": {"what": "x"},
        "digest": "d" * 64,
        "policy": ApprovalPolicy(approvers=("ann",), editable=("what",)),
        "requester": "owner",
        "asked_at": NOW,
        "expires_at": NOW + timedelta(hours=1),
    }
    return ApprovalRequest.model_validate({**fields, **changes})


def decision(**changes: object) -> Decision:
    fields: dict[str, object] = {
        "id": "1",
        "request_id": "r-1",
        "digest": "d" * 64,
        "verdict": Verdict.APPROVE,
        "by": "ann",
        "at": NOW,
    }
    return Decision.model_validate({**fields, **changes})


SIGNED = Signature(agent="a", expires_at=NOW + timedelta(days=1), key_id="k", mac="m")


def test_a_decision_by_an_approver_on_the_shown_digest_in_time_counts() -> None:
    """The one way to a yes."""
    assert refusal(decision(), request(), NOW, None) is None


@pytest.mark.parametrize(
    ("changed", "at", "words"),
    [
        ({"digest": "e" * 64}, NOW, "is what is asked"),
        ({"by": "eve"}, NOW, "not among those"),
        ({}, NOW + timedelta(hours=1), "expired"),
        ({"verdict": "revise"}, NOW, "needs edits"),
        ({"verdict": "revise", "edits": {"price": 1}}, NOW, "price may not be edited; what may be: what"),
        ({"edits": {"what": 1}}, NOW, "only the verdict revise"),
        ({"signature": SIGNED.model_copy(update={"expires_at": NOW})}, NOW, "envelope expired"),
    ],
)
def test_everything_else_is_refused_with_its_reason(
    changed: dict[str, object], at: datetime, words: str
) -> None:
    """Digest, person, time, edits, envelope: each refusal says why."""
    assert words in (refusal(decision(**changed), request(), at, None) or "")


def test_a_signed_decision_made_in_time_counts_though_no_worker_ran_until_later() -> None:
    """The signed time is believed; an unsigned one is not."""
    late = NOW + timedelta(days=2)
    signature = SIGNED.model_copy(update={"expires_at": late + timedelta(days=1)})
    assert refusal(decision(signature=signature), request(), late, None) is None
    assert "expired" in (refusal(decision(), request(), late, None) or "")
    after = decision(signature=signature, at=NOW + timedelta(hours=1))
    assert "expired" in (refusal(after, request(), late, None) or "")


def test_a_flaw_of_the_envelope_is_the_reason() -> None:
    """What the check of the envelope found is recorded as it is."""
    assert refusal(decision(), request(), NOW, "unsigned") == "unsigned"


def test_the_gate_takes_each_decision_once() -> None:
    """By its id: while it waits, and after it was judged."""
    gate = Gate(Approvals())
    gate.open(request())
    assert gate.offer(decision(), NOW) is None
    again = gate.offer(decision(), NOW)
    assert again is not None
    assert again.status is DecisionStatus.REFUSED
    assert gate.take("r-1") == decision()
    gate.record(decision(), NOW)
    third = gate.offer(decision(), NOW)
    assert third is not None
    assert "already received" in third.reason


def test_a_decision_that_comes_again_while_it_is_judged_is_the_same_decision() -> None:
    """It waits until its record stands; and what became of it is what became of the first."""
    gate = Gate(Approvals())
    gate.open(request())
    gate.offer(decision(), NOW)
    again = gate.offer(decision(verdict="reject"), NOW)
    assert again is not None
    assert again.reason == ALREADY_RECEIVED
    record = judged(gate.memory.records, "1")
    assert record is not None
    assert record.status is DecisionStatus.WAITING
    counted = gate.record(gate.take("r-1"), NOW)
    assert gate.next_decision("r-1") is None
    assert judged(gate.memory.records, "1") == counted
    assert judged(gate.memory.records, "2") is None
    assert gate.offer(decision(), NOW) is not None


def test_a_decision_for_a_closed_request_is_refused_with_how_it_closed() -> None:
    """The approver learns what became of the request."""
    gate = Gate(Approvals())
    gate.open(request())
    gate.close("r-1", "rejected by bob", NOW)
    record = gate.offer(decision(), NOW)
    assert record is not None
    assert record.reason == "r-1 is closed: rejected by bob"


def test_decisions_for_requests_never_made_cannot_crowd_out_one_for_an_open_request() -> None:
    """The buffer is bounded, and an open request always takes its decisions."""
    gate = Gate(Approvals())
    gate.open(request())
    refused = [
        gate.offer(decision(id=f"f{number}", request_id="nowhere"), NOW) for number in range(MAX_WAITING + 5)
    ]
    assert sum(each is not None for each in refused) == 5
    assert gate.offer(decision(), NOW) is None
    assert gate.next_decision("r-1") == decision()


def steps_of(work: Callable[[], object]) -> int:
    """How many instructions of the gate's own `work` takes."""
    steps = 0

    def trace(frame: FrameType, event: str, argument: object) -> Any:
        nonlocal steps
        if frame.f_code.co_filename != Gate.offer.__code__.co_filename:
            return None
        frame.f_trace_opcodes = True
        steps += event == "opcode"
        return trace

    sys.settrace(trace)
    try:
        work()
    finally:
        sys.settrace(None)
    return steps


@pytest.mark.parametrize("flood", ["r-1", "r-9"], ids=["open", "never made"])
def test_a_decision_costs_no_more_when_thousands_came_before_it(flood: str) -> None:
    """Ten thousand come in one workflow task, which may take two seconds: none walks over the others."""

    def cost(before: int) -> int:
        gate = Gate(Approvals())
        gate.open(request())
        for number in range(before):
            gate.offer(decision(id=f"before-{number}", request_id=flood), NOW)
        gate.memory.records[:] = gate.memory.records[-MAX_RECORDS:]

        def one() -> None:
            gate.offer(decision(id="again", request_id=flood), NOW)
            gate.offer(decision(id="again", request_id=flood), NOW)
            assert gate.next_decision("r-1") or flood != "r-1"
            if flood == "r-1":
                gate.take("r-1")

        return steps_of(one)

    assert cost(4000) <= cost(700) + 20


def test_no_flood_of_refused_decisions_hides_who_decided_or_lets_a_decision_count_again() -> None:
    """Refused records make room first, and what was received is known for as long as the history lasts."""
    gate = Gate(Approvals())
    gate.open(request())
    gate.offer(decision(), NOW)
    gate.record(gate.take("r-1"), NOW)
    for number in range(MAX_RECORDS + MAX_WAITING + 10):
        gate.offer(decision(id=f"f{number}", request_id="nowhere", edits={"what": "x" * 2000}), NOW)
    counted = gate.memory.records[0]
    assert (counted.decision.id, counted.status) == ("1", DecisionStatus.COUNTED)
    assert len(gate.memory.records) == MAX_RECORDS
    assert max(len(str(each.decision.edits)) for each in gate.memory.records) < 200
    again = gate.offer(decision(id="f101"), NOW)
    assert again is not None
    assert again.reason == ALREADY_RECEIVED


def test_decisions_that_an_older_version_carried_over_still_wait() -> None:
    """They were one list for all requests."""
    carried = Approvals.model_validate({"waiting": [decision().model_dump(mode="json")]})
    gate = Gate(Approvals.model_validate(carried.model_dump(mode="json")))
    assert gate.next_decision("r-1") == decision()


@given(st.lists(st.tuples(st.sampled_from(["open", "close", "offer"]), st.integers(0, 400)), max_size=300))
def test_the_memory_of_the_gate_is_bounded_and_no_decision_is_both_waiting_and_judged(
    steps: list[tuple[str, int]],
) -> None:
    """Whatever comes in whatever order; carried over it must stay small."""
    gate = Gate(Approvals())
    for what, number in steps:
        if what == "open":
            gate.open(request(id=f"r-{number}"))
        elif what == "close":
            gate.close(f"r-{number}", "done", NOW)
        else:
            gate.offer(decision(id=str(number), request_id=f"r-{number}"), NOW)
    memory = gate.memory
    assert len(memory.records) <= MAX_RECORDS
    assert len(memory.closed) <= MAX_CLOSED
    waiting = [each.id for each in gate.waiting]
    assert len(waiting) == len(set(waiting))
