"""Agents that think: history stays flat, budgets make them ask, people choose the model."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from temporalio.api.enums.v1 import EventType
from temporalio.client import WorkflowFailureError

from activities.delivery.notices import Notices
from activities.llm.activities import ModelActivities
from activities.llm.failures import ProviderError
from activities.llm.runner import ModelRunner
from common.agents.needs import Needs, Place
from common.approval.floors import policy_file
from common.approval.types import Verdict
from common.artifacts import ArtifactStore
from common.errors import retry_after
from common.settings import Settings
from testing.waiting import eventually
from tests.support.agents.talker import Talker
from tests.support.agents.talker_doubles import TalkInput, TestModel
from tests.support.stage import OWNER, Stage, state_is
from workflows.core.thinking import model_in_instruction

MODEL = "openai:in-process"


class Desk:
    """The stage with a model of the test's own."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.model = TestModel()
        settings = Settings.read(
            {
                "HIBERNAUT_DATA_DIR": str(stage.settings.data_dir),
                "HIBERNAUT_MODEL": MODEL,
                "HIBERNAUT_OPENAI_KEY": "dummy",
                "HIBERNAUT_MODEL_PRICES": f"{MODEL}=1/2",
            }
        )
        artifacts = ArtifactStore.of(settings)
        self.runner = ModelRunner(settings, artifacts, providers=lambda _: self.model)


@pytest.fixture
async def desk(stage: Stage) -> Desk:
    desk = Desk(stage)
    objects = [*stage.objects(), ModelActivities(desk.runner, stage.authority)]
    await stage.rest()
    stage.agents.append(Talker)
    stage.objects = lambda: objects  # type: ignore[method-assign]
    await stage.work()
    return desk


@pytest.mark.parametrize("rounds", [120, pytest.param(200, marks=pytest.mark.soak)])
async def test_a_long_conversation_adds_the_same_to_history_with_every_call(rounds: int, desk: Desk) -> None:
    """Calls with an answer of 2 KB each: the last quarter takes as many bytes of history as the first."""
    agent = await desk.stage.start(TalkInput(rounds=rounds), kind="talker")
    assert (await agent.result())["rounds"] == rounds
    assert len(desk.model.prompts[-1].turns) == 2 * rounds - 1, "the model was shown the whole talk"
    sizes: list[int] = []
    async for event in agent.fetch_history_events():
        if event.event_type == EventType.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED:
            sizes.append(0)
        if sizes and event.event_type != EventType.EVENT_TYPE_WORKFLOW_EXECUTION_COMPLETED:
            sizes[-1] += event.ByteSize()
    assert len(sizes) == rounds
    sizes = sizes[20:]  # until then the ids of events take fewer bytes
    quarter = len(sizes) // 4
    first, last = sum(sizes[:quarter]) / quarter, sum(sizes[-quarter:]) / quarter
    print(f"bytes of history a call: first {quarter} {first:.0f}, last {quarter} {last:.0f}")
    assert 2048 < first < 6000
    # What is left is numbers that take a digit more.
    assert abs(last - first) < 0.01 * first


async def test_a_provider_that_says_when_to_come_back_is_waited_for_by_temporal(desk: Desk) -> None:
    """The attempt ends at once with the delay and holds no slot; the next one succeeds, and costs once."""
    refusal = retry_after("RateLimited", "slow down", timedelta(seconds=2))
    desk.model.refuse_once = ProviderError(refusal, may_have_cost=False)
    agent = await desk.stage.start(TalkInput(rounds=1), kind="talker")
    assert (await agent.result())["rounds"] == 1
    (started,) = [
        event.activity_task_started_event_attributes
        async for event in agent.fetch_history_events()
        if event.event_type == EventType.EVENT_TYPE_ACTIVITY_TASK_STARTED
    ]
    failure = started.last_failure.application_failure_info
    assert (started.attempt, failure.type, failure.next_retry_delay.seconds) == (2, "RateLimited", 2)
    assert (await desk.stage.status(agent)).cost.input_tokens == 30


async def test_a_spent_budget_is_asked_about_and_a_yes_lets_the_agent_go_on(
    desk: Desk, tmp_path: Path
) -> None:
    """At 80 % a note, at the limit a question; the raise counts once, and no call is lost or made twice.

    Nobody is asked to pay for what cannot be done: what the agent needs is looked at first.
    """
    stage, out = desk.stage, tmp_path / "out"
    out.mkdir()
    desk.model.on_prompt = lambda: len(desk.model.prompts) == 3 and out.rmdir()
    needs = Needs(places=(Place(field="out", path=str(out)),))
    agent = await stage.start(TalkInput(rounds=6, budget_tokens=100, needs=needs), kind="talker")
    await eventually(lambda: state_is(stage, agent, "stuck"))
    assert (await agent.query("approvals"))["open"] == []
    out.mkdir()
    await agent.signal("wake")
    request = await stage.asked(agent)
    assert len(desk.model.prompts) == 3, "one call past the limit of 100 at most"
    assert (request.plan["spent_tokens"], request.plan["tokens_limit"]) == (120, 100)
    notes = await stage.notes(agent)
    assert sum("over 80 % of the budget" in note for note in notes) == 1
    await eventually(lambda: stage.notices.events(agent.id) == ["budget", "budget", "stuck", "asked"])
    await stage.decide(agent, request, Verdict.REVISE, edits={"tokens": 140})
    result = await agent.result()
    assert result["rounds"] == 6
    assert len(desk.model.prompts) == 6
    status = await stage.status(agent)
    assert (status.cost.input_tokens, status.cost.output_tokens) == (180, 60)
    assert str(status.cost.usd) == "0.000300"


async def test_two_raises_of_the_same_size_both_count(desk: Desk) -> None:
    """Each plan says what was spent, so that no second one is taken for the first."""
    stage = desk.stage
    agent = await stage.start(TalkInput(rounds=3, budget_tokens=40), kind="talker")
    first = await stage.asked(agent)
    await stage.decide(agent, first, Verdict.REVISE, edits={"tokens": 40})
    second = await stage.asked(agent, after=first.id)
    await stage.decide(agent, second, Verdict.REVISE, edits={"tokens": 40})
    assert (await agent.result())["rounds"] == 3


async def test_a_no_ends_the_agent_with_a_clear_failure(desk: Desk) -> None:
    """Nobody pays: it says so, and who said no."""
    stage = desk.stage
    agent = await stage.start(TalkInput(rounds=3, budget_tokens=40), kind="talker")
    await stage.decide(agent, await stage.asked(agent), Verdict.REJECT, note="enough")
    with pytest.raises(WorkflowFailureError) as caught:
        await agent.result()
    cause: Any = caught.value.cause
    assert cause.type == "BudgetRefused"
    assert "ann" in str(cause)


async def test_an_owners_day_is_a_budget_of_its_own(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """All agents of an owner share it; the question about it ends with the day."""
    models = desk.runner._settings.language_models.but(owner_tokens=60)
    monkeypatch.setattr(desk.runner, "_settings", desk.runner._settings.but(language_models=models))
    # The day does not end in the middle of it.
    today = datetime.now(UTC)
    monkeypatch.setattr(desk.runner, "_now", lambda: today)
    stage = desk.stage
    one = await stage.start(TalkInput(rounds=2), kind="talker")
    assert (await one.result())["rounds"] == 2
    other = await stage.start(TalkInput(rounds=1), kind="talker")
    request = await stage.asked(other)
    assert request.plan["scope"].startswith("owner:owner-1:")
    assert request.expires_at is not None
    assert (request.expires_at.hour, request.expires_at.minute) == (0, 0)
    await stage.decide(other, request)
    assert (await other.result())["rounds"] == 1


async def test_people_switch_the_model_of_a_running_agent_in_words(desk: Desk) -> None:
    """`model: offline` holds from the next call on; a model without a key is noted, and not used."""
    stage = desk.stage
    agent = await stage.start(TalkInput(rounds=3, wait_between=True), kind="talker")

    async def after(rounds: int) -> bool:
        notes = await stage.notes(agent)
        state = (await stage.status(agent)).state
        return sum(note.endswith("woke: signal") for note in notes) == rounds and state == "sleeping"

    await eventually(lambda: after(0))
    await agent.signal("wake")
    await eventually(lambda: after(1))
    await agent.signal("tell", "model: anthropic:claude")
    await agent.signal("wake")
    await eventually(lambda: after(2))
    await agent.signal("tell", "model: offline")
    await agent.signal("wake")
    assert (await agent.result())["models"] == [MODEL, MODEL, "offline"]
    notes = await stage.notes(agent)
    assert any("HIBERNAUT_ANTHROPIC_KEY" in note for note in notes)


@pytest.mark.parametrize(
    ("words", "model"),
    [
        ("model: offline", "offline"),
        (" model:openai:gpt-x ", "openai:gpt-x"),
        ("model: bedrock:us.amazon.nova-lite-v1:0", "bedrock:us.amazon.nova-lite-v1:0"),
        ("please use the model: offline", None),
        ("model: oracle:x", None),
        ("model: openai:", None),
        ("model: openai:a b", None),
    ],
)
def test_only_words_that_are_nothing_but_a_model_name_one(words: str, model: str | None) -> None:
    """A wish that happens to speak of models switches nothing."""
    assert model_in_instruction(words) == model


async def test_a_budget_is_raised_by_others_than_the_one_it_binds_and_only_so_far(desk: Desk) -> None:
    """The operator's policy says who may, and how much in all; the question goes to them at once."""
    stage = desk.stage
    rule = {"approvers": ["bob"], "agent_tokens": 150}
    policy_file(stage.settings).write_text(json.dumps({"rules": [rule]}))
    objects = [each for each in stage.objects() if each is not stage.notices]
    objects.append(Notices(floors=stage.authority.floors))
    await stage.rest()
    stage.objects = lambda: objects  # type: ignore[method-assign]
    await stage.work()
    agent = await stage.start(TalkInput(rounds=6, budget_tokens=100), kind="talker")
    request = await stage.asked(agent)
    assert (request.deciders, request.plan["tokens"]) == (("bob",), 50)
    for by, edits, told in (
        (OWNER, {}, "not among those"),
        ("bob", {"tokens": 51}, "no budget over 150 (agent_tokens), and this would make it 151"),
    ):
        verdict = Verdict.REVISE if edits else Verdict.APPROVE
        refused = await stage.decide(agent, request, verdict, by=by, edits=edits)
        assert told in (await stage.fate(agent, refused.id)).reason
    await stage.decide(agent, request, by="bob")
    with pytest.raises(WorkflowFailureError) as caught:
        await agent.result()
    cause: Any = caught.value.cause
    assert "the operator's policy allows no more" in str(cause.cause or cause)
    assert len(desk.model.prompts) == 4
