"""The inbox of agents that ask more, or more people, than search attributes hold."""

from __future__ import annotations

import asyncio
import os
import uuid
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

import pytest

from activities.delivery.notices import Notices
from common.approval.floors import UNREADABLE, policy_file
from common.approval.types import ApprovalPolicy
from common.client import inbox
from common.client.batch_decisions import BatchDecisions
from common.client.client import AgentClient
from common.client.rows import InboxRow
from common.temporal.search_attributes import MORE
from testing.waiting import eventually
from tests.support.agents.doubles import ErrandInput, PanelInput
from tests.support.stage import Stage

QUESTIONS = 26
PEOPLE = [str(uuid.UUID(int=Random(11).getrandbits(128))) for _ in range(60)]


async def test_no_question_is_without_a_row_and_no_approver_blind(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the attributes have no room for comes from the agent; while it cannot answer, a row says so."""
    agents = AgentClient(stage.client, stage.settings, stage.signer)
    policy = ApprovalPolicy(approvers=(*PEOPLE, "@board", "ö" * 150))
    asks = PanelInput(questions={f"q{number}": policy for number in range(QUESTIONS)})
    agent = await stage.start(asks, "panel")
    other = await stage.start(PanelInput(questions={"alone": ApprovalPolicy(approvers=("ann",))}), "panel")

    async def rows(who: str | None = None, id: str = agent.id) -> int:
        return sum(row.id == id for row in await agents.inbox(who))

    async def is_whole(who: str | None = None) -> bool:
        return await rows(who) == QUESTIONS

    # On a busy machine an agent may not answer in time.
    for who in (None, PEOPLE[0], PEOPLE[30], PEOPLE[-1], "ö" * 150):
        await eventually(lambda who=who: is_whole(who))
    await eventually(lambda: rows("ann", other.id))
    assert await rows("ann") == 0
    assert await rows("ann", other.id) == 1
    many = await stage.start(PanelInput(questions={"one": policy}), "panel")
    await eventually(lambda: rows(id=many.id))
    await stage.rest()

    async def cut() -> list[InboxRow] | None:
        rows = [row for row in await agents.inbox(PEOPLE[0]) if row.id == agent.id]
        return rows if 2 < len(rows) < QUESTIONS else None

    with monkeypatch.context() as patch:
        patch.setattr(inbox, "QUERY_PATIENCE", timedelta(seconds=0.2))
        shown = await eventually(cut)
        # Of all that is asked in full there is no approver who sees nothing: history has their names.
        asked = (PEOPLE[0], PEOPLE[-1], "ö" * 150, "@board", "ann")
        assert [await rows(who, many.id) for who in asked] == [1, 1, 1, 1, 0]
    assert [row.request_id for row in shown].index(MORE) == len(shown) - 1
    assert shown[-1].digest == ""
    await stage.work()
    await eventually(is_whole)


async def test_people_see_whom_the_policy_asks_now(stage: Stage) -> None:
    """The file changes while a question is open: lists, pages and reminders have the new approvers."""
    await stage.rest()
    stage.notices = Notices(floors=stage.authority.floors)  # type: ignore[assignment]
    await stage.work()
    agents = AgentClient(stage.client, stage.settings, stage.signer)
    gathered, file = BatchDecisions(stage.client, agents), policy_file(stage.settings)
    policy = ApprovalPolicy(approvers=("ann", "bob"), reminders=(timedelta(days=1), timedelta(days=2)))
    agent = await stage.start(ErrandInput(policy=policy))
    asked = await stage.asked(agent)

    async def listed() -> bool:
        return any(row.id == agent.id for row in await agents.inbox())

    await eventually(listed)

    async def seen() -> dict[str, Any]:
        """Who has it in the inbox, and whom each way to look at it names."""
        rows = [row for row in await agents.inbox() if row.id == agent.id]
        questions = await agents.questions(rows, timedelta(seconds=1))
        page = await gathered.page_of("", rows, lambda row, deciders: True)
        who = [
            each
            for each in ("ann", "bob", "cat")
            if [r for r in await agents.inbox(each) if r.id == agent.id]
        ]
        view = await agents.view(agent.id)
        return {
            "inbox": who,
            "deciders": {
                tuple(rows[0].approvers),
                questions[agent.id, asked.id].request.deciders,
                page.items[0].deciders,
                view.requests[0].deciders,
                view.approval.deciders if view.approval else (),
            },
            "standing": view.requests[0].standing,
            "floor": view.requests[0].floor,
        }

    assert (await seen())["inbox"] == ["ann", "bob"]
    file.write_text('{"rules": [{"approvers": ["bob", "cat"], "quorum": 2}]}')
    changed = await seen()
    assert changed == {
        "inbox": ["bob", "cat"],
        "deciders": {("bob", "cat")},
        "standing": "0 of 2 approvals",
        "floor": "the operator's policy asks for 2 approvals of: bob, cat, but never owner-1",
    }
    await stage.rest()
    assert await AgentClient(stage.client, stage.settings, stage.signer).inbox("cat")
    assert await seen() == changed
    await stage.work()
    # The agent itself takes it up with the next reminder, and those are told who may decide by now.
    await stage.skip(agent, timedelta(days=1, minutes=1))

    async def reminded() -> bool:
        return (await stage.attributes(agent))["AgentApprovers"] == ["bob", "cat"]

    await eventually(reminded)
    assert "approval: the operator's policy asks for 2 approvals of: bob, cat, but never owner-1" in (
        await stage.notes(agent)
    )
    file.write_text('{"rules": [{"requester": "allowed"}]}')
    assert (await seen())["deciders"] == {("ann", "bob")}
    file.write_text("no policy")
    view = await agents.view(agent.id)
    assert view.requests[0].evidence[-1] == UNREADABLE
    file.write_text('{"rules": [{"approvers": ["owner-1"]}]}')
    view = await agents.view(agent.id)
    assert (view.requests[0].deciders, view.requests[0].evidence[:-1]) == (("owner-1",), asked.evidence)
    assert "too few of those named may give one" in view.requests[0].evidence[-1]
    file.write_text('{"rules": [{"requester": "allowed"}]}')
    assert (await seen())["inbox"] == ["ann", "bob"]


async def test_whom_the_policy_asks_now_is_known_of_agents_that_have_gone_on_since(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file changed after the question, and before the agent's present node, or its present history."""
    monkeypatch.setattr(inbox, "CLOCKS_DIFFER", timedelta(0))
    agents, file = AgentClient(stage.client, stage.settings, stage.signer), policy_file(stage.settings)
    policy = ApprovalPolicy(approvers=("ann",))
    afresh = await stage.start(ErrandInput(policy=policy))
    elsewhere = await stage.start(PanelInput(questions={"alone": policy}, goes_on_to="beside"), "panel")
    asked = [await stage.asked(each) for each in (afresh, elsewhere)]
    file.write_text('{"rules": [{"approvers": ["cat"]}]}')
    changed_at = max(each.asked_at for each in asked).timestamp() + 0.001
    os.utime(file, (changed_at, changed_at))
    await asyncio.sleep(1.1)  # search attributes know whole seconds
    run = (await afresh.describe()).run_id
    await agents.upgrade(afresh.id)

    async def have_gone_on() -> bool:
        rows = {row.id: row for row in await agents.inbox()}
        return rows[afresh.id].run_id != run and rows[elsewhere.id].node == "beside"

    await eventually(have_gone_on)
    # The policy is of this test alone, and so asks for the agents of others, too, which share the server.
    assert {row.id for row in await agents.inbox("cat")} >= {afresh.id, elsewhere.id}
    assert await agents.inbox("ann") == []
    rows = {row.id: row.approvers for row in await agents.inbox()}
    assert (rows[afresh.id], rows[elsewhere.id]) == (["cat"], ["cat"])


async def test_a_question_has_a_row_whatever_its_node_is_called_and_whatever_else_is_waited_for(
    stage: Stage,
) -> None:
    """The request's id can be read out of the attribute, and stands before other waits."""
    agents = AgentClient(stage.client, stage.settings, stage.signer)
    policy = ApprovalPolicy(approvers=("ann",))
    asks = PanelInput(questions={"alone": policy}, node="two; or  three words", sleeps_beside=True)
    agent = await stage.start(asks, "panel")

    async def found() -> list[str]:
        return [row.request_id for row in await agents.inbox("ann") if row.id == agent.id]

    assert await eventually(found) == ["two-or-three-words-1"]


async def test_a_question_is_read_from_history_while_no_worker_runs(stage: Stage) -> None:
    """In full, with what people have sent since; also from a history that started afresh in between."""
    agents = AgentClient(stage.client, stage.settings, stage.signer)
    policy = ApprovalPolicy(approvers=("ann", "bob"), quorum=2, reminders=(timedelta(days=1),))
    old, fresh = await stage.start(ErrandInput(policy=policy)), await stage.start(ErrandInput(policy=policy))
    asked = {each.id: await stage.asked(each) for each in (old, fresh)}
    first = await stage.decide(old, asked[old.id], by="ann")
    await stage.fate(old, first.id)
    run = (await fresh.describe()).run_id
    await agents.upgrade(fresh.id)

    async def afresh() -> bool:
        return (await fresh.describe()).run_id != run and await stage.asked(fresh) is not None

    await eventually(afresh)
    await stage.rest()
    await stage.decide(old, asked[old.id], by="bob")
    runs = {(await each.describe()).run_id for each in (old, fresh)}

    async def listed() -> list[InboxRow] | None:
        rows = [row for row in await agents.inbox("ann") if row.id in asked]
        return rows if {row.run_id for row in rows} == runs else None

    rows = await eventually(listed)
    found = await agents.questions(rows, timedelta(seconds=0.2))
    assert len(found) == len(rows) == 2
    for (id, _), question in found.items():
        assert not question.live
        assert (question.request.question, question.request.plan) == ("Buy?", asked[id].plan)
        since = {"votes": asked[id].votes, "premises": asked[id].premises}
        assert question.request.model_copy(update=since) == asked[id]
        assert question.said_by == (("ann", "bob") if id == old.id else ())
        now = datetime.now(UTC)
        assert (question.overdue(now), question.overdue(now + timedelta(days=1))) == (False, True)
    # Whoever opens the agent itself sees the same, and need not wait for a worker to decide.
    view = await agents.view(fresh.id)
    assert (view.live, view.requests) == (False, [found[fresh.id, asked[fresh.id].id].request])
    await stage.work()
