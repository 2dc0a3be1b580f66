"""Approvals through real agents on the real server: which decisions count, and what becomes of others."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

from common.agents.needs import Needs, Place
from common.approval.floors import policy_file
from common.approval.signing import Authority
from common.approval.types import ApprovalPolicy, ApprovalsView, OnExpiry, Verdict
from testing.waiting import eventually
from tests.support.agents.doubles import ErrandInput
from tests.support.stage import OWNER, Stage, state_is


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
        "another agent": stage.signer.sign(stage.decision(request), "another", datetime.now(UTC)),
        "envelope expired": stage.signer.sign(
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
    await eventually(lambda: state_is(stage, agent, "sleeping"))
    await stage.decide(agent, request)
    view = await stage.query(agent, "approvals", ApprovalsView)
    assert view.decisions[0].status == "waiting"
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


async def test_a_decision_that_comes_with_the_one_that_ends_its_request_is_refused_as_late(
    stage: Stage,
) -> None:
    """Two at once: the first counts, the second is recorded with its reason and waits for nothing."""
    agent = await stage.start(ErrandInput())
    request = await stage.asked(agent)
    await stage.rest()
    first = await stage.decide(agent, request)
    second = await stage.decide(agent, request, Verdict.REJECT)
    await stage.work()
    assert (await agent.result())["confirmation"]
    assert (await stage.fate(agent, first.id)).status == "counted"
    late = await stage.fate(agent, second.id)
    assert late.reason == "approval-1 is closed: approval-1: approved by ann (through cli)"
    assert any("refused a decision by ann: approval-1 is closed" in note for note in await stage.notes(agent))


async def test_an_expired_request_gives_up_and_is_asked_again_once_nothing_is_missing(
    stage: Stage, tmp_path: Path
) -> None:
    """After expiry nothing counts, and what the agent needs is looked at before people are asked again."""
    out = tmp_path / "out"
    out.mkdir()
    policy = ApprovalPolicy(
        approvers=("ann",), expires_after=timedelta(hours=1), on_expiry=OnExpiry.ASK_AGAIN
    )
    needs = Needs(places=(Place(field="out", path=str(out)),))
    agent = await stage.start(ErrandInput(policy=policy, needs=needs))
    first = await stage.asked(agent)
    out.rmdir()
    await stage.skipper.fast_forward(agent, timedelta(hours=1, minutes=1))
    await eventually(lambda: state_is(stage, agent, "stuck"))
    assert f"the worker sees no folder {out}" in ((await stage.status(agent)).waiting_for or "")
    assert (await stage.query(agent, "approvals", ApprovalsView)).open == []
    out.mkdir()
    await agent.signal("wake")
    second = await stage.asked(agent, after=first.id)
    late = await stage.decide(agent, first)
    assert "is closed: approval-1: expired" in (await stage.fate(agent, late.id)).reason
    assert second.digest == first.digest
    assert second.expires_at > first.expires_at  # type: ignore[operator]
    await agent.terminate()


async def test_a_paused_agent_counts_decisions_and_goes_on_only_when_resumed(stage: Stage) -> None:
    """Pause holds every next step; nothing that arrives meanwhile is lost."""
    agent = await stage.start(ErrandInput())
    request = await stage.asked(agent)
    await agent.signal("pause")
    decision = await stage.decide(agent, request)
    assert (await stage.fate(agent, decision.id)).status == "counted"
    assert (await stage.status(agent)).state == "paused"
    await stage.shows(agent, AgentState="paused")
    assert stage.world.act_attempts == 0
    await agent.signal("resume")
    assert (await agent.result())["confirmation"]


async def test_unsigned_decisions_count_where_the_settings_say_so_and_are_marked(stage: Stage) -> None:
    """The embedded stack takes them from the Web UI; record, notebook and outcome say unsigned."""
    await stage.rest()
    stage.settings = stage.settings.but(unsigned="accept")
    stage.authority = stage.world.authority = Authority.load(stage.settings)
    await stage.work()
    agent = await stage.start(ErrandInput())
    decision = stage.decision(await stage.asked(agent), through="ui")
    await agent.signal("decide", decision)
    record = await stage.fate(agent, decision.id)
    assert (record.status, record.signed) == ("counted", False)
    assert (await agent.result())["words"] == "approval-1: approved by ann (through ui, unsigned)"


async def test_while_the_operators_policy_cannot_be_read_a_decision_waits(stage: Stage) -> None:
    """Nothing is lost and nothing is done; once the file is mended it is judged, and others are asked."""
    agent = await stage.start(ErrandInput())
    request = await stage.asked(agent)
    file = policy_file(stage.settings)
    file.write_text("{")
    decision = await stage.decide(agent, request)

    async def tried() -> bool:
        described = await agent.describe()
        pending = described.raw_description.pending_activities
        return any("is not a JSON object" in each.last_failure.message for each in pending)

    await eventually(tried)
    assert stage.world.act_attempts == 0
    file.write_text('{"rules": [{"approvers": ["bob"]}]}')
    assert "ann is not among those" in (await stage.fate(agent, decision.id)).reason
    await stage.decide(agent, await stage.asked(agent), by="bob")
    await agent.result()
    assert stage.notices.events(agent.id)[:2] == ["asked", "reminder"]
    assert stage.world.act_attempts == 1
