"""The inbox of agents that ask more, or more people, than search attributes hold."""

from __future__ import annotations

import uuid
from random import Random

from common.approval.types import ApprovalPolicy
from common.client.client import AgentClient
from common.temporal.search_attributes import MORE
from tests.support.agents.doubles import PanelInput
from tests.support.stage import Stage
from tests.support.waiting import eventually

QUESTIONS = 26
PEOPLE = [str(uuid.UUID(int=Random(11).getrandbits(128))) for _ in range(60)]


async def test_no_question_is_without_a_row_and_no_approver_blind(stage: Stage) -> None:
    """What the attributes have no room for comes from the agent; while it cannot answer, a row says so."""
    agents = AgentClient(stage.client, stage.settings, stage.signer)
    policy = ApprovalPolicy(approvers=(*PEOPLE, "@board", "ö" * 150))
    asks = PanelInput(questions={f"q{number}": policy for number in range(QUESTIONS)})
    agent = await stage.start(asks, "panel")
    other = await stage.start(PanelInput(questions={"alone": ApprovalPolicy(approvers=("ann",))}), "panel")

    async def rows(who: str | None = None, id: str = agent.id) -> int:
        return sum(row.id == id for row in await agents.inbox(who))

    async def is_whole() -> bool:
        return await rows() == QUESTIONS

    await eventually(is_whole)
    assert [await rows(who) for who in (PEOPLE[0], PEOPLE[30], PEOPLE[-1], "ö" * 150)] == [QUESTIONS] * 4
    assert await rows("ann") == 0
    assert await rows("ann", other.id) == 1
    await stage.rest()
    shown = [row for row in await agents.inbox(PEOPLE[0]) if row.id == agent.id]
    assert 10 < len(shown) < QUESTIONS
    assert [row.request_id for row in shown].index(MORE) == len(shown) - 1
    assert shown[-1].digest == ""
    await stage.work()
    await eventually(is_whole)


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
