"""The kit through real agents on the real server."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pydantic import BaseModel
from temporalio import activity
from temporalio.api.enums.v1 import EventType
from temporalio.client import WorkflowFailureError
from temporalio.exceptions import CancelledError

from common.agents.agent import Notebook, WakeUp
from common.approval.types import ApprovalPolicy, ApprovalRequest, Authorization
from common.client.client import AgentClient
from common.names import UnusableValueError
from testing.waiting import eventually
from tests.support.agents.doubles import Confirmation, Errand, ErrandInput, ErrandPlan, World
from tests.support.stage import OWNER, Stage, noted, state_is


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
        ErrandInput(policy=ApprovalPolicy(approvers=("ann",), expires_after=timedelta(days=2))),
        # Of a task that took so long that another was begun, a replay sees another time.
        task_timeout=timedelta(seconds=60),
    )

    async def committed() -> tuple[ApprovalRequest, dict[str, Any]] | None:
        """A query may be answered from a task that Temporal has yet to commit, with another time."""
        request, attributes = await stage.asked(agent), await stage.attributes(agent)
        return (request, attributes) if request.expires_at == attributes["AgentWakeAt"] else None

    request, attributes = await eventually(committed)
    assert attributes["AgentOwner"] == OWNER
    assert attributes["AgentNode"] == "approval"
    assert attributes["AgentState"] == "awaiting_approval"
    assert attributes["AgentWaitingFor"] == f"approval {request.id} {request.digest}"
    assert attributes["AgentApprovers"] == ["ann"]
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

    async def said() -> bool:
        return any("cannot be fetched" in note for note in await stage.notes(agent))

    await eventually(said)
    assert stage.world.act_attempts == 0


async def test_an_unknown_outcome_is_looked_up_before_anything_is_sent_again(stage: Stage) -> None:
    """The acknowledgement got lost after the deed: the deed is found by its key, and not repeated."""
    stage.world.lose_acknowledgements = 1
    agent = await stage.start(ErrandInput())
    await stage.decide(agent, await stage.asked(agent))
    assert (await agent.result())["confirmation"]["what"] == "buy"
    assert stage.world.act_attempts == 1
    assert any("outcome unknown" in note for note in await stage.notes(agent))


class OldErrand(BaseModel):
    """An errand as code knew it that had no fence yet."""

    plan: ErrandPlan
    authorization: Authorization | None = None


class OldWorld(World):
    """A worker of that code."""

    @activity.defn(name="act")
    async def act(self, errand: OldErrand) -> Confirmation:  # type: ignore[override]
        return await super().act(Errand(plan=errand.plan, authorization=errand.authorization))


async def test_an_older_worker_leaves_an_action_to_one_that_knows_all_of_its_request(stage: Stage) -> None:
    """It neither acts without what it does not know nor fails the agent."""
    await stage.rest()
    world, stage.world = stage.world, OldWorld(stage.authority)
    await stage.work()
    agent = await stage.start(ErrandInput())
    await stage.decide(agent, await stage.asked(agent))

    async def refused() -> bool:
        return any("NewerRequest: OldErrand has fields" in note for note in await stage.notes(agent))

    await eventually(refused)
    assert stage.world.act_attempts == 0
    await stage.rest()
    stage.world = world
    await stage.work()
    assert (await agent.result())["confirmation"]["fence"] == 10
    assert world.act_attempts == 1


async def test_facts_are_fetched_again_where_the_worker_died_between_validation_and_action(
    stage: Stage,
) -> None:
    """The action found no worker within its window; by then the fact has moved, and nothing is done."""
    await stage.rest()
    agent = await stage.start(ErrandInput(freshness=timedelta(seconds=1)))
    async with stage.workflow_worker():
        async with stage.activity_worker(slots=1):
            request = await stage.asked(agent)
            stage.world.hold = asyncio.Event()
            await stage.decide(agent, request)
            await eventually(lambda: stage.world.fact_fetches == 2)
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


async def test_thirty_days_of_sleep_end_by_time(stage: Stage) -> None:
    """Time skipping on the real server: the agent sleeps a month in seconds, and says why it woke."""
    agent = await stage.start(ErrandInput(sleep=timedelta(days=30)))
    await eventually(lambda: state_is(stage, agent, "sleeping"))
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
    await eventually(lambda: state_is(stage, agent, "sleeping"))
    later = datetime(2040, 1, 1, tzinfo=UTC)
    await agent.signal("wake", WakeUp(until=later))

    async def moved() -> bool:
        return (await stage.status(agent)).wake_at == later

    await eventually(moved)
    await stage.shows(agent, AgentWakeAt=later)
    await agent.signal("wake")
    assert (await stage.asked(agent)).id == "approval-1"


async def test_whoever_steers_an_agent_hears_what_came_of_it(stage: Stage) -> None:
    """A signal has no reply: each is asked about by its id, and what was refused is not reported as done."""
    agents = AgentClient(stage.client, stage.settings, stage.signer)
    agent = await stage.start(ErrandInput(sleep=timedelta(days=30)))
    await eventually(lambda: state_is(stage, agent, "sleeping"))

    async def came_of(sending: Awaitable[str]) -> tuple[bool, str]:
        found = await agents.receipt(agent.id, await sending, timedelta(minutes=2))
        assert found is not None
        return found.taken, found.words

    with pytest.raises(UnusableValueError, match="4,001 characters"):
        await agents.tell(agent.id, "x" * 4001)
    assert await came_of(agents.tell(agent.id, "be brief")) == (True, "it was told")
    assert (await came_of(agents.pause(agent.id)))[0]
    assert await came_of(agents.pause(agent.id)) == (True, "it was paused already")
    later = datetime(2040, 1, 1, tzinfo=UTC)
    moved = "it sleeps until 2040-01-01 00:00:00 UTC instead, once it is resumed"
    assert await came_of(agents.wake(agent.id, later)) == (True, moved)
    assert await came_of(agents.resume(agent.id)) == (True, "it goes on")
    assert await came_of(agents.resume(agent.id)) == (True, "it was not paused")
    past = datetime(2001, 1, 1, tzinfo=UTC)
    passed = "2001-01-01 00:00:00 UTC has passed, so it wakes"
    assert await came_of(agents.wake(agent.id, past)) == (True, passed)
    await stage.asked(agent)
    early = "it does not sleep now, it is awaiting_approval"
    assert await came_of(agents.wake(agent.id)) == (False, early)
    assert f"refused to wake: {early}" in "\n".join(await stage.notes(agent))
    assert await agents.receipt(agent.id, "never sent", timedelta(seconds=0.2)) is None
    await agent.signal("tell", {"receipt": "mine"})
    refused = await agents.receipt(agent.id, "mine", timedelta(minutes=2))
    assert (refused and refused.taken) is False


async def test_a_call_that_does_not_get_through_marks_the_agent_stuck_until_it_does(stage: Stage) -> None:
    """Stuck is shown and remembered; the call goes on retrying, and the mark goes when it gets through."""
    stage.world.step_fails = 10**6
    agent = await stage.start(ErrandInput())
    await stage.skipper.fast_forward(agent, timedelta(minutes=11))
    await eventually(lambda: state_is(stage, agent, "stuck"))
    attributes = await stage.shows(agent, AgentState="stuck", AgentNode="steps")
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
    sent = 0

    async def two_were_told(step: int) -> None:
        await eventually(lambda: sent > 2 * (step + 1))

    stage.world.before_step = two_were_told
    agent = await stage.start(ErrandInput(steps=10, carry_every_step=True))
    asked = asyncio.create_task(stage.asked(agent))
    while not asked.done():
        await agent.signal("tell", f"word {sent}")
        sent += 1
        await asyncio.sleep(0.05)
    assert sent > 20, "two in each history"
    last = f"was told: word {sent - 1}"
    await eventually(lambda: noted(stage, agent, last))
    notebook = await stage.query(agent, "notebook", Notebook)
    told = [each.text for each in notebook.entries if each.text.startswith("was told")]
    # The notebook keeps the newest lines; those it has are all there, and how many went is known.
    assert told == [f"was told: word {number}" for number in range(sent - len(told), sent)]
    assert len(notebook.entries) + notebook.dropped == sent + 20 + 4
    await stage.decide(agent, await asked)
    await agent.result()


async def test_a_permanent_failure_ends_the_agent_with_its_type_in_the_attributes(stage: Stage) -> None:
    """What no retry mends fails the agent, visibly."""
    stage.world.fact_fails = True
    agent = await stage.start(ErrandInput())
    with pytest.raises(WorkflowFailureError):
        await agent.result()
    assert (await stage.attributes(agent))["AgentFailure"] == "Gone"
    assert "plan: failed: Gone: the fact cannot be had" in await stage.notes(agent)


@pytest.mark.parametrize("then", ["drift", "refusal"])
async def test_an_attempt_that_takes_effect_late_is_not_taken_for_none(stage: Stage, then: str) -> None:
    """Its request is on the wire still when the fact drifts, or when the next attempt is refused for good."""
    stage.world.keeps_on_the_wire = True
    agent = await stage.start(ErrandInput(settles=timedelta(minutes=2)))
    await stage.decide(agent, await stage.asked(agent))
    await eventually(lambda: stage.world.on_the_wire)
    if then == "drift":
        stage.world.value = 99
    else:
        stage.world.refuses = True

    async def second_look() -> bool:
        return stage.world.fact_fetches > 2 and (then == "drift" or stage.world.act_attempts > 1)

    await eventually(second_look)
    stage.world.arrive()
    await stage.skip(agent, timedelta(minutes=3))
    result = await agent.result()
    assert list(stage.world.acted) == [result["confirmation"]["key"]]


async def test_cancel_ends_a_sleeping_agent(stage: Stage) -> None:
    """Cancel works at any wait, and the notebook says so."""
    agent = await stage.start(ErrandInput())
    await stage.asked(agent)
    await agent.cancel()
    with pytest.raises(WorkflowFailureError):
        await agent.result()
    assert "approval: cancelled" in await stage.notes(agent)


async def test_cancel_reaches_an_agent_in_the_middle_of_a_call(stage: Stage) -> None:
    """A call that ends well all the same does not swallow it: the agent takes no further step."""
    stage.world.hold = asyncio.Event()
    agent = await stage.start(ErrandInput())
    await eventually(lambda: stage.world.fact_fetches > 0)
    await agent.cancel()

    async def heard() -> bool:
        return any("CANCEL_REQUESTED" in event for event in await stage.events(agent))

    await eventually(heard)
    stage.world.hold.set()
    with pytest.raises(WorkflowFailureError) as ended:
        await asyncio.wait_for(agent.result(), 120)
    assert isinstance(ended.value.cause, CancelledError)
    assert "plan: cancelled" in await stage.notes(agent)


async def test_cancel_reaches_an_agent_whose_deed_is_under_way(stage: Stage) -> None:
    """Between the approval and the deed, the facts are fetched side by side; nothing is done after it."""
    agent = await stage.start(ErrandInput())
    request = await stage.asked(agent)
    stage.world.hold = asyncio.Event()
    await stage.decide(agent, request)
    await eventually(lambda: stage.world.fact_fetches > 1)
    await agent.cancel()
    await asyncio.sleep(0.5)
    stage.world.hold.set()
    with pytest.raises(WorkflowFailureError) as ended:
        await asyncio.wait_for(agent.result(), 120)
    assert isinstance(ended.value.cause, CancelledError)
    assert stage.world.acted == {}


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
