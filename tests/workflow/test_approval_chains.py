"""Approval chains through real agents: quorum, groups, reminders, escalation, several requests at once."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime, timedelta
from typing import Any

from temporalio import activity
from temporalio.client import WorkflowHandle

from activities.calendars import Calendars
from activities.decisions import DecisionChecks, EnvelopeCheck, EnvelopeChecked
from common.approval.signing import Signer
from common.approval.types import ApprovalPolicy, ApprovalRequest, ApprovalsView, OnExpiry, Verdict
from common.business_time import NYSE
from common.client.client import AgentClient
from common.client.rows import InboxRow
from testing.waiting import eventually
from tests.support.agents.doubles import ErrandInput, PanelInput
from tests.support.stage import Stage, noted

LADDER = (timedelta(hours=4), timedelta(hours=24), timedelta(hours=48))


async def test_a_quorum_needs_different_people_and_authorizes_with_all_their_votes(stage: Stage) -> None:
    """Two of three: the same person twice is one, and `show` tells how it stands."""
    policy = ApprovalPolicy(approvers=("ann", "bob", "eve"), quorum=2)
    agent = await stage.start(ErrandInput(policy=policy))
    request = await stage.asked(agent)
    await stage.decide(agent, request, by="ann")
    twice = await stage.decide(agent, request, by="ann")
    assert "already said yes; 1 of 2 approvals (ann)" in (await stage.fate(agent, twice.id)).reason
    [standing] = [each.decision.by for each in (await stage.asked(agent)).votes]
    assert standing == "ann"
    agents = AgentClient(stage.client, stage.settings, Signer.load(stage.settings, create=True))

    async def listed() -> list[InboxRow]:
        return [row for row in await agents.inbox("bob") if row.id == agent.id]

    rows = await eventually(listed)
    question = (await agents.questions(rows, timedelta(minutes=2)))[agent.id, request.id]
    assert question.said_by == ("ann",)
    assert question.request.asked.endswith("(1 of 2 approvals (ann))")
    assert stage.world.act_attempts == 0
    await stage.decide(agent, request, by="eve")
    result = await agent.result()
    assert result["words"] == "approval-1: approved by ann (through cli); by eve (through cli)"
    assert result["confirmation"]


async def test_one_no_ends_a_request_that_others_have_approved(stage: Stage) -> None:
    """A quorum of yes is needed; a single no is enough."""
    agent = await stage.start(ErrandInput(policy=ApprovalPolicy(approvers=("ann", "bob", "eve"), quorum=3)))
    request = await stage.asked(agent)
    await stage.decide(agent, request, by="ann")
    await stage.decide(agent, request, Verdict.REJECT, by="bob", note="no")
    assert (await agent.result())["words"] == "approval-1: rejected by bob (through cli): no"
    assert stage.world.act_attempts == 0


async def test_a_group_is_its_members_at_the_time_they_decide(stage: Stage) -> None:
    """Whoever has left the group may not; whoever has joined may."""
    groups = stage.settings.data_dir / "groups.json"
    groups.write_text(json.dumps({"treasury": ["ann", "bob"]}))
    agent = await stage.start(ErrandInput(policy=ApprovalPolicy(approvers=("@treasury",))))
    request = await stage.asked(agent)
    groups.write_text(json.dumps({"treasury": ["bob", "eve"]}))
    left = await stage.decide(agent, request, by="ann")
    assert "not among those" in (await stage.fate(agent, left.id)).reason
    await stage.decide(agent, request, by="eve")
    assert (await agent.result())["confirmation"]


async def test_the_others_have_to_agree_to_an_edited_plan(stage: Stage) -> None:
    """A revision under a quorum asks again about the plan as edited; earlier votes were for another plan."""
    policy = ApprovalPolicy(approvers=("ann", "bob", "eve"), quorum=2, editable=("what",))
    agent = await stage.start(ErrandInput(policy=policy))
    first = await stage.asked(agent)
    await stage.decide(agent, first, by="ann")
    await stage.decide(agent, first, Verdict.REVISE, by="bob", edits={"what": "sell"}, note="rather")
    second = await stage.asked(agent, after=first.id)
    assert second.plan["what"] == "sell"
    assert [vote.decision.by for vote in second.votes] == ["bob"]
    assert second.evidence[-1] == "revised with edits to what by bob (through cli): rather"
    late = await stage.decide(agent, first, by="eve")
    assert "is closed" in (await stage.fate(agent, late.id)).reason
    own = await stage.decide(agent, second, by="bob")
    assert "already said yes" in (await stage.fate(agent, own.id)).reason
    await stage.decide(agent, second, by="ann")
    assert (await agent.result())["confirmation"]["what"] == "sell"


async def test_people_are_reminded_then_others_asked_too_then_it_expires(stage: Stage) -> None:
    """The ladder: 4, 24 and 48 hours, an escalation in between, and an end."""
    policy = ApprovalPolicy(
        approvers=("ann",),
        reminders=LADDER,
        escalate_to=("bob",),
        escalate_after=timedelta(hours=30),
        expires_after=timedelta(hours=60),
    )
    agent = await stage.start(ErrandInput(policy=policy))
    request = await stage.asked(agent)
    early = await stage.decide(agent, request, by="bob")
    assert "not among those" in (await stage.fate(agent, early.id)).reason
    await stage.skipper.fast_forward(agent, timedelta(hours=25))
    await eventually(lambda: noted(stage, agent, "reminder 2 of 3: Buy?"))
    told = ["asked", "reminder", "reminder"]
    await eventually(lambda: stage.notices.events(agent.id) == told)
    assert (await stage.attributes(agent))["AgentApprovers"] == ["ann"]
    await stage.skipper.fast_forward(agent, timedelta(hours=24))
    await eventually(lambda: noted(stage, agent, "reminder 3 of 3: Buy?"))
    await eventually(lambda: stage.notices.events(agent.id) == [*told, "escalation", "reminder"])
    await stage.shows(agent, AgentApprovers=["ann", "bob"])
    assert "may decide: ann, bob" in stage.notices.told[-1].text
    await stage.skipper.fast_forward(agent, timedelta(hours=12))
    assert (await agent.result())["words"] == "approval-1: expired"


async def test_those_it_was_escalated_to_may_decide(stage: Stage) -> None:
    """And the action takes their word."""
    policy = ApprovalPolicy(approvers=("ann",), escalate_to=("bob",), escalate_after=timedelta(hours=1))
    agent = await stage.start(ErrandInput(policy=policy))
    request = await stage.asked(agent)
    await stage.skipper.fast_forward(agent, timedelta(hours=2))
    await eventually(lambda: noted(stage, agent, "escalated to bob: Buy?"))
    await stage.decide(agent, request, by="bob")
    assert "by bob" in (await agent.result())["words"]


async def test_an_expired_request_is_asked_once_more_of_others_and_then_given_up(stage: Stage) -> None:
    """`on_expiry=escalate`."""
    policy = ApprovalPolicy(
        approvers=("ann",),
        escalate_to=("bob",),
        expires_after=timedelta(hours=1),
        on_expiry=OnExpiry.ESCALATE,
    )
    agent = await stage.start(ErrandInput(policy=policy))
    first = await stage.asked(agent)
    await stage.skipper.fast_forward(agent, timedelta(minutes=61))
    second = await stage.asked(agent, after=first.id)
    assert second.deciders == ("ann", "bob")
    await stage.skipper.fast_forward(agent, timedelta(minutes=61))
    assert (await agent.result())["words"] == "approval-2: expired"


async def test_deadlines_can_count_in_the_business_hours_of_a_calendar(stage: Stage) -> None:
    """Seven hours of a market that is open six and a half a day end on its next day."""
    policy = ApprovalPolicy(approvers=("ann",), expires_after=timedelta(hours=7), business_hours=NYSE)
    # Of a task that took so long that another was begun, a replay sees another time.
    agent = await stage.start(ErrandInput(policy=policy), task_timeout=timedelta(seconds=60))
    request = await stage.asked(agent)
    assert request.expires_at is not None
    closed = request.expires_at - request.asked_at - timedelta(hours=7)
    assert closed >= timedelta(hours=17)
    await stage.shows(agent, AgentWakeAt=request.expires_at)
    await stage.decide(agent, request)
    assert (await agent.result())["confirmation"]


async def asking_both(
    stage: Stage, *, apart: bool = False
) -> tuple[WorkflowHandle[Any, Any], ApprovalRequest, ApprovalRequest]:
    """A panel once it asks both its questions, ann whether to buy, and bob whether to sell."""
    policies = {"buy": ApprovalPolicy(approvers=("ann",)), "sell": ApprovalPolicy(approvers=("bob",))}
    agent = await stage.start(PanelInput(questions=policies, apart=apart), "panel")

    async def both() -> dict[str, ApprovalRequest] | None:
        view = await stage.query(agent, "approvals", ApprovalsView)
        return {each.plan["what"]: each for each in view.open} if len(view.open) == 2 else None

    asked = await eventually(both)
    return agent, asked["buy"], asked["sell"]


async def test_several_requests_of_one_agent_are_decided_apart(stage: Stage) -> None:
    """Each by its own people, in any order; both stand in the attributes and in the details."""
    agent, buy, sell = await asking_both(stage)

    async def shown() -> bool:
        found = await stage.attributes(agent)
        # Which was asked first is nobody's promise.
        waits = sorted(found.get("AgentWaitingFor", "").split("; "))
        people = sorted(found.get("AgentApprovers", []))
        both = [f"approval {each.id} {each.digest}" for each in (buy, sell)]
        return (waits, people) == (both, ["ann", "bob"])

    await eventually(shown)
    wrong = await stage.decide(agent, buy, by="bob")
    assert "not among those" in (await stage.fate(agent, wrong.id)).reason
    await stage.decide(agent, sell, by="bob")
    await stage.shows(agent, AgentApprovers=["ann"])
    await stage.decide(agent, buy, Verdict.REJECT, by="ann")
    words = (await agent.result())["words"]
    assert words == ["panel-1: rejected by ann (through cli)", "panel-2: approved by bob (through cli)"]


async def test_each_of_two_tasks_is_at_a_node_of_its_own(stage: Stage) -> None:
    """What a task does carries its node, and when one has ended, people see where the other is."""
    agent, buy, sell = await asking_both(stage, apart=True)
    assert (buy.id, sell.id) == ("buy-1", "sell-2")
    await stage.decide(agent, buy, by="ann")
    await stage.shows(agent, AgentApprovers=["bob"], AgentNode="sell")
    assert (await stage.status(agent)).node == "sell"
    await stage.decide(agent, sell, by="bob")
    await agent.result()
    assert [note.partition(" (")[0] for note in await stage.notes(agent)] == [
        *("panel: entered", "buy: entered", "sell: entered", "buy: asks: buy?", "sell: asks: sell?"),
        *("buy: buy-1: approved by ann", "buy: done", "sell: sell-2: approved by bob", "sell: done"),
        "panel: done",
    ]


async def test_edits_that_make_a_plans_own_rules_fail_wedge_nothing(stage: Stage) -> None:
    """Whatever an approver sends for a field, it is refused or fits."""
    agent = await stage.start(ErrandInput())
    request = await stage.asked(agent)
    for what in (None, [1], {"a": 1}, 10**400, True):
        refused = await stage.decide(agent, request, Verdict.REVISE, edits={"what": what})
        assert "do not fit the plan" in (await stage.fate(agent, refused.id)).reason
    await stage.decide(agent, request)
    await agent.result()


async def test_an_approval_too_old_to_act_on_is_asked_for_again(stage: Stage) -> None:
    """The envelope's time ran out while the agent was paused: nothing is done on the old word."""
    # What expires within the time in which the action may start is too old already.
    agent = await stage.start(ErrandInput(freshness=timedelta(minutes=10)))
    first = await stage.asked(agent)
    await agent.signal("pause")
    almost = datetime.now(UTC) - timedelta(days=14) + timedelta(minutes=5)
    decision = stage.signer.sign(stage.decision(first), agent.id, almost)
    await agent.signal("decide", decision)
    assert (await stage.fate(agent, decision.id)).status == "counted"
    await agent.signal("resume")
    second = await stage.asked(agent, after=first.id)
    assert stage.world.act_attempts == 0
    assert any("drift: approval: it held until" in note for note in await stage.notes(agent))
    await stage.decide(agent, second)
    assert (await agent.result())["confirmation"]["fence"] == 10


async def begun_afresh(agent: WorkflowHandle[Any, Any]) -> bool:
    described = await agent.describe()
    return described.run_id != described.raw_description.workflow_execution_info.first_run_id


async def test_a_request_stays_open_while_its_agents_history_starts_afresh(short_histories: Stage) -> None:
    """Under a flood of words and bad decisions: same request, same deadline, votes kept; then decided."""
    stage = short_histories
    policy = ApprovalPolicy(approvers=("ann", "bob"), quorum=2, expires_after=timedelta(days=2))
    agent = await stage.start(ErrandInput(policy=policy))
    first = await stage.asked(agent)
    await stage.decide(agent, first, by="ann")
    for number in range(40):
        await agent.signal("tell", f"word {number}")
        await stage.decide(agent, first, by="eve")
    await eventually(lambda: begun_afresh(agent))

    async def voted() -> ApprovalRequest | None:
        request = await stage.asked(agent)
        return request if request.votes else None

    now = await eventually(voted)
    assert (now.id, now.digest, now.expires_at) == (first.id, first.digest, first.expires_at)
    assert [vote.decision.by for vote in now.votes] == ["ann"]
    await stage.decide(agent, now, by="bob")
    assert (await agent.result())["confirmation"]
    assert stage.world.act_attempts == 1


async def test_several_requests_stay_open_over_fresh_histories(short_histories: Stage) -> None:
    """Each `ask` takes up its own request again."""
    stage = short_histories
    agent, buy, sell = await asking_both(stage)
    for number in range(60):
        await agent.signal("tell", f"word {number}")
    await eventually(lambda: begun_afresh(agent))
    assert {buy.id, sell.id} == {
        each.id for each in (await stage.query(agent, "approvals", ApprovalsView)).open
    }
    await stage.decide(agent, sell, by="bob")
    await stage.decide(agent, buy, by="ann")
    assert len((await agent.result())["words"]) == 2


async def test_no_decision_is_lost_where_history_starts_afresh_in_the_moment_it_is_judged(
    short_histories: Stage,
) -> None:
    """One `ask` judges while another wants a fresh history: the word counts in this run or in the next."""
    stage = short_histories
    agent, buy, sell = await asking_both(stage)
    await stage.rest()
    for number in range(40):
        await agent.signal("tell", f"word {number}")
    decision = await stage.decide(agent, sell, Verdict.REJECT, by="bob")
    await stage.work()
    assert (await stage.fate(agent, decision.id)).status == "counted"
    await stage.decide(agent, buy, by="ann")
    assert (await agent.result())["words"][1] == "panel-2: rejected by bob (through cli)"


async def test_an_answer_given_beside_an_open_question_outlives_a_long_history(
    short_histories: Stage,
) -> None:
    """Nobody is asked again what they have answered, however much is said until the others answer."""
    stage = short_histories
    agent, buy, sell = await asking_both(stage)
    await stage.decide(agent, buy, by="ann")
    for number in range(60):
        await agent.signal("tell", f"word {number}")

    async def one_is_left() -> bool:
        view = await stage.query(agent, "approvals", ApprovalsView)
        return [each.id for each in view.open] == [sell.id]

    await eventually(one_is_left)
    await stage.decide(agent, sell, by="bob")
    assert (await agent.result())["words"][0] == "panel-1: approved by ann (through cli)"


async def test_those_it_is_escalated_to_may_decide_from_that_moment_though_no_worker_ran(
    stage: Stage,
) -> None:
    """The moment counts, not when a worker came to it."""
    policy = ApprovalPolicy(approvers=("ann",), escalate_to=("bob",), escalate_after=timedelta(hours=1))
    agent = await stage.start(ErrandInput(policy=policy))
    request = await stage.asked(agent)
    await stage.rest()
    # It stops at the moment of the escalation, where the agent's next task finds no worker.
    forward = asyncio.create_task(stage.skipper.fast_forward(agent, timedelta(hours=2)))

    async def due() -> bool:
        return await stage.skipper.get_current_time(agent) >= request.escalate_at  # type: ignore[operator]

    await eventually(due)
    now = await stage.skipper.get_current_time(agent)
    decision = stage.signer.sign(stage.decision(request, by="bob", at=now), agent.id, now)
    await agent.signal("decide", decision)
    await stage.work()
    await forward
    assert (await stage.fate(agent, decision.id)).status == "counted"
    assert (await agent.result())["confirmation"]


class CountedChecks(DecisionChecks):
    """Takes a moment, and counts how many local ones are under way."""

    under_way = most = 0

    @activity.defn(name="check_envelope")
    async def check_envelope(self, check: EnvelopeCheck) -> EnvelopeChecked:
        if activity.info().is_local:
            self.under_way += 1
            self.most = max(self.most, self.under_way)
            try:
                await asyncio.sleep(0.05)
            finally:
                self.under_way -= 1
        return await super().check_envelope(check)


async def test_decisions_on_several_requests_are_checked_one_after_the_other(stage: Stage) -> None:
    """Of two local activities at once, a replay may take the results in another order than they came."""
    await stage.rest()
    checks = CountedChecks(stage.authority)
    objects = [stage.world, checks, Calendars(), stage.notices]
    stage.objects = lambda: objects  # type: ignore[method-assign]
    await stage.work()
    agent, buy, sell = await asking_both(stage)
    await stage.rest()
    await stage.decide(agent, buy, by="ann")
    await stage.decide(agent, sell, by="bob")
    await stage.work()
    await agent.result()
    assert checks.most == 1
