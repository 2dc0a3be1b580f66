"""The kit through real agents on the real server."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from temporalio.api.enums.v1 import EventType
from temporalio.client import WorkflowFailureError, WorkflowHandle

from common.agent import Notebook, WakeUp
from common.approval import ApprovalPolicy, OnExpiry, Verdict
from common.envelope import Authority
from tests.workflow.conftest import OWNER, Stage, eventually
from tests.workflow.doubles import ErrandInput


async def test_an_approved_plan_is_acted_on_once_after_its_fact_was_fetched_again(stage: Stage) -> None:
    """Steps, approval, final validation, action, in that order, and the notebook tells it."""
    agent = await stage.start(ErrandInput(steps=2))
    request = await stage.asked(agent)
    assert request.requester == OWNER
    assert stage.world.fact_fetches == 1
    await stage.decide(agent, request)
    result = await agent.result()
    assert stage.world.steps == [0, 1]
    assert stage.world.fact_fetches == 2
    assert list(stage.world.acted) == [result["confirmation"]["key"]]
    assert result["confirmation"]["key"] == f"{agent.id}:act:{request.digest}"
    assert "approval: approval-1: approved by ann (through cli)" in await stage.notes(agent)


async def test_activity_ids_hold_node_sequence_and_digest_of_the_argument(stage: Stage) -> None:
    """A replay that would pass another argument has another id, so it is noticed."""
    agent = await stage.start(ErrandInput(steps=2))
    await stage.asked(agent)
    history = await agent.fetch_history()
    ids = [
        event.activity_task_scheduled_event_attributes.activity_id
        for event in history.events
        if event.event_type == EventType.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED
    ]
    assert [each.rsplit("/", 1)[0] for each in ids] == ["steps/1", "steps/2", "plan/3"]
    assert len({each.rsplit("/", 1)[1] for each in ids}) == 3
    assert all(len(each.rsplit("/", 1)[1]) == 12 for each in ids)


async def test_every_wait_declares_itself(stage: Stage) -> None:
    """What an agent waits for, since when, and who can end it stand in its search attributes."""
    agent = await stage.start(
        ErrandInput(policy=ApprovalPolicy(approvers=("ann",), expires_after=timedelta(days=2)))
    )
    await stage.asked(agent)

    async def shown() -> dict[str, object] | None:
        attributes = await stage.attributes(agent)
        return attributes if attributes["AgentState"] == "awaiting_approval" else None

    attributes = await eventually(shown)
    # Only now: a query may be answered from a task that Temporal has yet to commit, with another time.
    request = await stage.asked(agent)
    assert attributes["AgentOwner"] == OWNER
    assert attributes["AgentNode"] == "approval"
    assert attributes["AgentState"] == "awaiting_approval"
    assert attributes["AgentWaitingFor"] == f"approval {request.id} {request.digest}"
    assert attributes["AgentApprovers"] == ["ann"]
    assert attributes["AgentWakeAt"] == request.expires_at
    assert attributes["AgentNodeSince"] <= datetime.now(UTC)
    status = await stage.status(agent)
    assert (status.state, status.node, status.wake_at) == (
        "awaiting_approval",
        "approval",
        request.expires_at,
    )


async def test_drift_voids_the_approval_and_asks_again_with_old_and_new(stage: Stage) -> None:
    """The fact moved between approval and action: nothing is done on the old word."""
    agent = await stage.start(ErrandInput())
    first = await stage.asked(agent)
    stage.world.value = 12
    await stage.decide(agent, first)
    second = await stage.asked(agent, after=first.id)
    assert stage.world.act_attempts == 0
    assert second.plan["value"] == 12
    assert second.digest != first.digest
    assert "act: drift: value: 10 has become 12" in await stage.notes(agent)
    late = await stage.decide(agent, first, id="late")
    assert "void" in (await stage.fate(agent, late.id)).reason
    await stage.decide(agent, second)
    assert (await agent.result())["confirmation"]["what"] == "buy"
    assert stage.world.act_attempts == 1


async def test_a_premise_that_cannot_be_fetched_is_drift(stage: Stage) -> None:
    """Not knowing is never a pass."""
    agent = await stage.start(ErrandInput())
    first = await stage.asked(agent)
    stage.world.fact_fails = True
    await stage.decide(agent, first)
    with pytest.raises(AssertionError):
        await eventually(lambda: _true_if(stage.world.act_attempts > 0), seconds=2)
    assert any("cannot be fetched" in note for note in await stage.notes(agent))


async def _true_if(value: bool) -> bool:
    return value


async def test_an_unknown_outcome_is_looked_up_before_anything_is_sent_again(stage: Stage) -> None:
    """The acknowledgement got lost after the deed: the deed is found by its key, and not repeated."""
    stage.world.lose_acknowledgements = 1
    agent = await stage.start(ErrandInput())
    await stage.decide(agent, await stage.asked(agent))
    assert (await agent.result())["confirmation"]["what"] == "buy"
    assert stage.world.act_attempts == 1
    assert any("outcome unknown" in note for note in await stage.notes(agent))


async def test_facts_are_fetched_again_where_the_worker_died_between_validation_and_action(
    stage: Stage,
) -> None:
    """The action found no worker within its window; by then the fact has moved, and nothing is done."""
    await stage.rest()
    agent = await stage.start(ErrandInput(freshness=timedelta(seconds=1)))
    async with stage.workflow_worker():
        async with stage.activity_worker():
            request = await stage.asked(agent)
            stage.world.hold = asyncio.Event()
            await stage.decide(agent, request)
            await eventually(lambda: _true_if(stage.world.fact_fetches == 2))
            asyncio.get_running_loop().call_later(1, stage.world.hold.set)
            # Leaving the block stops taking work at once and lets the fetch under way end.
        assert stage.world.fact_fetches == 2
        stage.world.value = 12

        async def missed() -> bool:
            return any(
                "did not start while the facts were fresh" in each for each in await stage.notes(agent)
            )

        await eventually(missed)
        async with stage.activity_worker():
            again = await stage.asked(agent, after=request.id)
            assert again.plan["value"] == 12
            assert stage.world.fact_fetches == 3
            assert stage.world.act_attempts == 0
            await stage.decide(agent, again)
            assert (await agent.result())["confirmation"]


async def test_decisions_that_do_not_count_are_recorded_with_their_reason_and_change_nothing(
    stage: Stage,
) -> None:
    """Other digest, unknown person, bad signature, none, another agent, twice: the agent goes on waiting."""
    agent = await stage.start(ErrandInput())
    request = await stage.asked(agent)
    cases = {
        "is what is asked": stage.sign(stage.decision(request, digest="0" * 64), agent),
        "not among those": stage.sign(stage.decision(request, by="eve"), agent),
        "does not fit": stage.sign(stage.decision(request, by="eve"), agent).model_copy(update={"by": "ann"}),
        "unsigned": stage.decision(request),
        "another agent": stage.ring.sign(stage.decision(request), "another", datetime.now(UTC)),
        "envelope expired": stage.ring.sign(
            stage.decision(request), agent.id, datetime(2020, 1, 1, tzinfo=UTC)
        ),
        "may not be edited": stage.sign(stage.decision(request, Verdict.REVISE, edits={"value": 1}), agent),
        "do not fit the plan": stage.sign(
            stage.decision(request, Verdict.REVISE, edits={"what": [1]}), agent
        ),
        "only the verdict revise": stage.sign(stage.decision(request, edits={"what": "x"}), agent),
        "needs edits": stage.sign(stage.decision(request, Verdict.REVISE), agent),
    }
    for reason, decision in cases.items():
        await agent.signal("decide", decision)
        record = await stage.fate(agent, decision.id)
        assert record.status == "refused"
        assert reason in record.reason
    twice = cases["unsigned"]
    await agent.signal("decide", twice)

    async def second_record() -> bool:
        return any("already received" in note for note in await stage.notes(agent))

    await eventually(second_record)
    assert (await stage.status(agent)).state == "awaiting_approval"
    assert stage.world.act_attempts == 0
    await stage.decide(agent, request)
    await agent.result()


async def test_unreadable_signals_are_refused_and_wedge_nothing(stage: Stage) -> None:
    """Wrong type, wrong count, unknown name, over-long: noted, and the agent still answers and decides."""
    agent = await stage.start(ErrandInput())
    request = await stage.asked(agent)
    await agent.signal("decide", args=[1, 2, 3])
    await agent.signal("decide")
    await agent.signal("decide", "yes")
    await agent.signal("decide", {"id": "x"})
    await agent.signal("decide", b"\x00\xff")
    await agent.signal("tell", "")
    await agent.signal("tell", "x" * 5000)
    await agent.signal("wake", {"until": "tomorrow"})
    await agent.signal("pause", "now")
    await agent.signal("explode", {"a": 1})
    await agent.signal("tell", "hurry")

    async def told() -> bool:
        return any(note.endswith("was told: hurry") for note in await stage.notes(agent))

    await eventually(told)
    notes = await stage.notes(agent)
    assert sum("refused the signal" in note for note in notes) == 10
    await stage.decide(agent, request)
    await agent.result()


async def test_revise_acts_on_the_edited_plan(stage: Stage) -> None:
    """The approver changes a field that may be edited; the action gets the plan so edited."""
    agent = await stage.start(ErrandInput())
    await stage.decide(agent, await stage.asked(agent), Verdict.REVISE, edits={"what": "sell"})
    result = await agent.result()
    assert result["confirmation"]["what"] == "sell"
    assert "approved with edits to what by ann" in result["words"]


async def test_reject_ends_the_request_and_nothing_is_done(stage: Stage) -> None:
    """A no is a no."""
    agent = await stage.start(ErrandInput())
    await stage.decide(agent, await stage.asked(agent), Verdict.REJECT, note="too dear")
    assert "rejected by ann (through cli): too dear" in (await agent.result())["words"]
    assert stage.world.act_attempts == 0


async def test_the_requester_may_not_approve_unless_the_policy_says_so(stage: Stage) -> None:
    """Four eyes by default."""
    policy = ApprovalPolicy(approvers=(OWNER,))
    agent = await stage.start(ErrandInput(policy=policy))
    decision = await stage.decide(agent, await stage.asked(agent), by=OWNER)
    assert "may not approve" in (await stage.fate(agent, decision.id)).reason
    allowed = policy.model_copy(update={"requester_may_approve": True})
    agent = await stage.start(ErrandInput(policy=allowed))
    await stage.decide(agent, await stage.asked(agent), by=OWNER)
    assert (await agent.result())["confirmation"]


async def test_nobody_may_decide_where_the_policy_names_nobody(stage: Stage) -> None:
    """A policy approves nothing by default."""
    agent = await stage.start(ErrandInput(policy=ApprovalPolicy()))
    decision = await stage.decide(agent, await stage.asked(agent))
    assert "not among those" in (await stage.fate(agent, decision.id)).reason


async def test_a_decision_that_comes_before_the_question_is_buffered(stage: Stage) -> None:
    """The decision arrives while the agent still sleeps; it counts when the agent asks."""
    probe = await stage.start(ErrandInput())
    request = await stage.asked(probe)
    agent = await stage.start(ErrandInput(sleep=timedelta(days=1)))
    await eventually(lambda: _state_is(stage, agent, "sleeping"))
    await stage.decide(agent, request)
    assert (await agent.query("approvals"))["decisions"][0]["status"] == "waiting"
    await agent.signal("wake")
    assert (await agent.result())["memory"]["woken"] == ["signal"]


async def test_a_decision_sent_while_no_worker_runs_is_acted_on_when_one_starts(stage: Stage) -> None:
    """Temporal acknowledges the signal by itself; the agent wakes with the next worker."""
    agent = await stage.start(ErrandInput())
    request = await stage.asked(agent)
    await stage.rest()
    await stage.decide(agent, request)
    assert stage.world.act_attempts == 0
    await stage.work()
    assert (await agent.result())["confirmation"]["what"] == "buy"


async def _state_is(stage: Stage, agent: WorkflowHandle[Any, Any], state: str) -> bool:
    return (await stage.status(agent)).state == state


async def test_an_expired_request_gives_up_and_later_decisions_are_refused(stage: Stage) -> None:
    """After expiry nothing counts."""
    policy = ApprovalPolicy(
        approvers=("ann",), expires_after=timedelta(hours=1), on_expiry=OnExpiry.ASK_AGAIN
    )
    agent = await stage.start(ErrandInput(policy=policy), skipping=True)
    first = await stage.asked(agent)
    await stage.skipper.fast_forward(agent, timedelta(hours=1, minutes=1))
    second = await stage.asked(agent, after=first.id)
    late = await stage.decide(agent, first)
    assert "is closed: approval-1: expired" in (await stage.fate(agent, late.id)).reason
    assert second.digest == first.digest
    assert second.expires_at > first.expires_at  # type: ignore[operator]
    await agent.terminate()


async def test_thirty_days_of_sleep_end_by_time(stage: Stage) -> None:
    """Time skipping on the real server: the agent sleeps a month in seconds, and says why it woke."""
    agent = await stage.start(ErrandInput(sleep=timedelta(days=30)), skipping=True)
    await eventually(lambda: _state_is(stage, agent, "sleeping"))
    before = (await stage.status(agent)).wake_at
    await stage.skipper.fast_forward(agent, timedelta(days=30, seconds=1))
    request = await stage.asked(agent)
    assert before is not None
    assert request.asked_at >= before
    assert request.asked_at - (await stage.status(agent)).started_at >= timedelta(days=30)
    assert "sleep: woke: time" in await stage.notes(agent)


async def test_wake_can_move_the_end_of_a_sleep(stage: Stage) -> None:
    """`wake` with a time moves the timer, and without one ends the sleep."""
    agent = await stage.start(ErrandInput(sleep=timedelta(days=30)))
    await eventually(lambda: _state_is(stage, agent, "sleeping"))
    later = datetime(2040, 1, 1, tzinfo=UTC)
    await agent.signal("wake", WakeUp(until=later))

    async def moved() -> bool:
        return (await stage.status(agent)).wake_at == later

    await eventually(moved)
    assert (await stage.attributes(agent))["AgentWakeAt"] == later
    await agent.signal("wake")
    assert (await stage.asked(agent)).id == "approval-1"


async def test_a_paused_agent_counts_decisions_and_goes_on_only_when_resumed(stage: Stage) -> None:
    """Pause holds every next step; nothing that arrives meanwhile is lost."""
    agent = await stage.start(ErrandInput())
    request = await stage.asked(agent)
    await agent.signal("pause")
    decision = await stage.decide(agent, request)
    assert (await stage.fate(agent, decision.id)).status == "counted"
    assert (await stage.status(agent)).state == "paused"
    assert (await stage.attributes(agent))["AgentState"] == "paused"
    assert stage.world.act_attempts == 0
    await agent.signal("resume")
    assert (await agent.result())["confirmation"]


async def test_a_call_that_does_not_get_through_marks_the_agent_stuck_until_it_does(stage: Stage) -> None:
    """Stuck is shown and remembered; the call goes on retrying, and the mark goes when it gets through."""
    stage.world.step_fails = 10**6
    agent = await stage.start(ErrandInput(), skipping=True)
    await stage.skipper.fast_forward(agent, timedelta(minutes=11))
    await eventually(lambda: _state_is(stage, agent, "stuck"))
    attributes = await stage.attributes(agent)
    assert attributes["AgentState"] == "stuck"
    assert attributes["AgentNode"] == "steps"
    [mark] = attributes["AgentStuckAt"]
    assert mark.startswith("steps@20")
    stage.world.step_fails = 0
    await stage.skipper.fast_forward(agent, timedelta(minutes=6))
    await stage.asked(agent)
    assert (await stage.attributes(agent))["AgentStuckAt"] == [mark]
    assert any("no longer stuck" in note for note in await stage.notes(agent))


async def test_carry_over_keeps_notebook_decisions_and_words_told(stage: Stage) -> None:
    """History starts afresh after every step, and the agent notices no difference."""
    agent = await stage.start(ErrandInput(steps=3, carry_every_step=True))
    await agent.signal("tell", "be careful")
    await agent.signal("decide", "nonsense")
    request = await stage.asked(agent)
    notes = await stage.notes(agent)
    assert notes.count("steps: done") == 3
    assert sum("was told: be careful" in note for note in notes) == 1
    await stage.decide(agent, request)
    assert (await agent.result())["memory"]["steps"] == 3
    assert stage.world.steps == [0, 1, 2]


async def test_no_signal_is_lost_while_histories_start_afresh(stage: Stage) -> None:
    """Words told without pause over ten carry-overs: each arrives, once, in order."""
    agent = await stage.start(ErrandInput(steps=10, carry_every_step=True))
    asked = asyncio.create_task(stage.asked(agent))
    sent = 0
    while not asked.done():
        await agent.signal("tell", f"word {sent}")
        sent += 1
        await asyncio.sleep(0.05)
    assert sent > 50
    last = f"was told: word {sent - 1}"
    await eventually(lambda: _noted(stage, agent, last))
    notebook = await agent.query("notebook", result_type=Notebook)
    told = [each.text for each in notebook.entries if each.text.startswith("was told")]
    # The notebook keeps the newest lines; those it has are all there, and how many went is known.
    assert told == [f"was told: word {number}" for number in range(sent - len(told), sent)]
    assert len(notebook.entries) + notebook.dropped == sent + 20 + 4
    await stage.decide(agent, await asked)
    await agent.result()


async def _noted(stage: Stage, agent: WorkflowHandle[Any, Any], text: str) -> bool:
    return any(note.endswith(text) for note in await stage.notes(agent))


async def test_unsigned_decisions_count_where_the_settings_say_so_and_are_marked(stage: Stage) -> None:
    """The embedded stack takes them from the Web UI; record, notebook and outcome say unsigned."""
    await stage.rest()
    stage.authority = stage.world.authority = Authority(stage.ring, accept_unsigned=True)
    await stage.work()
    agent = await stage.start(ErrandInput())
    decision = stage.decision(await stage.asked(agent), through="ui")
    await agent.signal("decide", decision)
    record = await stage.fate(agent, decision.id)
    assert (record.status, record.signed) == ("counted", False)
    assert (await agent.result())["words"] == "approval-1: approved by ann (through ui, unsigned)"


async def test_a_permanent_failure_ends_the_agent_with_its_type_in_the_attributes(stage: Stage) -> None:
    """What no retry mends fails the agent, visibly."""
    stage.world.fact_fails = True
    agent = await stage.start(ErrandInput())
    with pytest.raises(WorkflowFailureError):
        await agent.result()
    assert (await stage.attributes(agent))["AgentFailure"] == "Gone"
    assert "plan: failed: Gone: the fact cannot be had" in await stage.notes(agent)


async def test_cancel_ends_a_sleeping_agent(stage: Stage) -> None:
    """Cancel works at any wait, and the notebook says so."""
    agent = await stage.start(ErrandInput())
    await stage.asked(agent)
    await agent.cancel()
    with pytest.raises(WorkflowFailureError):
        await agent.result()
    assert "approval: cancelled" in await stage.notes(agent)


async def test_the_web_ui_sees_the_notebook_as_inert_text(stage: Stage) -> None:
    """Current details show the newest lines; what was told cannot become a link or a heading."""
    agent = await stage.start(ErrandInput())
    await stage.asked(agent)
    await agent.signal("tell", "[click](http://evil.example) # now")

    async def details() -> str | None:
        from temporalio.api.sdk.v1 import WorkflowMetadata

        metadata = await agent.query("__temporal_workflow_metadata", result_type=WorkflowMetadata)
        return metadata.current_details if "was told" in metadata.current_details else None

    shown = await eventually(details)
    assert shown.startswith("**awaiting\\_approval at approval: waits for approval approval-1 ")
    assert "\\[click\\](http://evil.example) \\# now" in shown
