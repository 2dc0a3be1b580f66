"""What is too large, too long, too much or wrong: it is handled, or fails for a reason, or shows as trouble.

The table of `docs/state.md` says the same. Nobody runs for ever in silence, nobody is terminated.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from temporalio.api.sdk.v1 import ExternalStorageReference
from temporalio.client import (
    Client,
    WorkflowExecutionStatus,
    WorkflowFailureError,
    WorkflowHandle,
    WorkflowQueryFailedError,
)
from temporalio.common import RawValue, SearchAttributePair, TypedSearchAttributes
from temporalio.converter import JSONProtoPayloadConverter
from temporalio.service import RetryConfig, RPCError

from cli.dev_server import DevServer
from common.agents.agent import Notebook
from common.approval.types import Verdict
from common.client.client import AgentClient
from common.client.errors import TooMuchSaidError
from common.client.trouble import Cause
from common.client.view import cause_in_words
from common.settings import Settings
from common.temporal import search_attributes
from common.temporal.connect import connect
from testing.waiting import eventually
from tests.support import limits
from tests.support.agents.doubles import ErrandInput
from tests.support.agents.poison import PoisonInput, Poisons
from tests.support.agents.poisoned import PoisonedAgent
from tests.support.stage import Stage, noted, state_is

SMALL, LARGE = 500_000, 2_200_000
HUGE = (1_000_000, 5_000_000, 10_000_000, 20_000_000)


class PoisonStage(Stage):
    """A stage whose agents are handed what is bad for them."""

    def objects(self) -> list[Any]:
        return [*super().objects(), Poisons()]

    @property
    def door(self) -> AgentClient:
        return AgentClient(self.client, self.settings, self.signer)


@pytest.fixture(params=["plain", "encrypted"])
async def stage(request: pytest.FixtureRequest, settings: Settings) -> AsyncIterator[PoisonStage]:
    """A stage with keys and without; what ends in trouble cannot be replayed."""
    if request.param == "encrypted":
        settings.data_dir.mkdir(parents=True, exist_ok=True)
        (settings.data_dir / "payload.keys").write_text("k1:" + "ab" * 32)
    stage = PoisonStage(await connect(settings), settings)
    stage.agents.append(PoisonedAgent)
    async with stage.at_work(replays=False):
        yield stage


@dataclass(frozen=True)
class Row:
    """A row of the table: what happens to an agent with something of a size in bytes.

    `done` is what its result begins with, `fails` how its failure begins, `state` what it does while people
    can ask it everything, `trouble` what its trouble begins with.
    """

    what: str
    size: int
    done: str = ""
    fails: str = ""
    state: str = ""
    trouble: str = ""


def rows(size: int) -> list[Row]:
    """The table for one size."""
    too_large = f"{size + 11} bytes; hand over an artifact"
    asked = 2 * size + 25
    return [
        Row("input", size, done=str(size)),
        Row("argument", size, done=str(size))
        if size < 1_500_000
        else Row("argument", size, fails=f"ArgumentTooLarge: take: {too_large}"),
        Row("result", size, done=str(size)),
        Row("agent's result", size, done="rrr"),
        Row("state", size, done=str(size)),
        Row("activity's failure", size, fails="Poisoned: mmm"),
        Row("activity's details", size, fails="Poisoned: see"),
        Row("failing activity", size, trouble="keep-failing: attempt "),
        Row("failure", size, fails="Poisoned: mmm"),
        Row("details", size, fails="Poisoned: see"),
        Row("note", size, state="sleeping"),
        Row("wait", size, state="sleeping"),
        Row("node", size, state="sleeping"),
        Row("question", size // 3, state="awaiting_approval")
        if size < 1_500_000
        else Row("question", size, fails=f"PayloadTooLarge: what it asks is {asked} bytes, and 1000000 can"),
        Row("approvers", size // 1000, state="awaiting_approval"),
    ]


async def check(stage: PoisonStage, row: Row) -> None:
    """One agent comes to what its row says."""
    say = "i" * row.size if row.what == "input" else ""
    agent = await stage.start(PoisonInput(what=row.what, size=row.size, say=say), "poisoned")
    if row.done:
        assert str(await agent.result()).startswith(row.done), row.what
    elif row.fails:
        assert (await why(agent)).startswith(row.fails), row.what
        status = (await agent.describe()).status
        assert status is WorkflowExecutionStatus.FAILED, row.what
    elif row.trouble:
        await eventually(lambda: is_in_trouble(stage, agent, row.trouble))
    else:
        await eventually(lambda: can_be_asked(stage, agent, row.state))


async def somebody(stage: PoisonStage) -> Client:
    """Who reaches Temporal with a client of their own, and hears at once what it refuses."""
    once = RetryConfig(max_retries=1, max_elapsed_time_millis=100)
    return await Client.connect(stage.client.service_client.config.target_host, retry_config=once)


def reference_to_nowhere(id: str) -> RawValue:
    """A payload that says it lies in the store, of an agent that is to begin with it."""
    claim = {"key": f"payloads/default/{id}/-/{'0' * 64}"}
    found = JSONProtoPayloadConverter().to_payload(
        ExternalStorageReference(driver_name="hibernaut", claim_data=claim)
    )
    assert found is not None
    return RawValue(found)


async def why(agent: WorkflowHandle[Any, Any]) -> str:
    """Why it failed, in words."""
    with pytest.raises(WorkflowFailureError) as failure:
        await agent.result()
    return cause_in_words(failure.value.cause)


async def is_in_trouble(stage: PoisonStage, agent: WorkflowHandle[Any, Any], words: str) -> bool:
    return any(each.words.startswith(words) for each in (await stage.door.view(agent.id)).trouble)


async def can_be_asked(stage: PoisonStage, agent: WorkflowHandle[Any, Any], state: str) -> bool:
    """Whether it is in that state, and answers every query."""
    view = await stage.door.view(agent.id)
    assert view.running, view.failure
    return view.live and view.state == state


@pytest.mark.parametrize(("stage", "size"), [("plain", SMALL), ("encrypted", LARGE)], indirect=["stage"])
async def test_payloads_of_any_size(stage: PoisonStage, size: int) -> None:
    """Each is kept, or cut, or refused with a reason; none wedges its agent."""
    await asyncio.gather(*(check(stage, row) for row in rows(size)))


@pytest.mark.soak
@pytest.mark.parametrize("size", HUGE)
async def test_payloads_that_are_larger_still(stage: PoisonStage, size: int) -> None:
    """The same table, row by row, as each takes seconds to encode."""
    for row in rows(size):
        await check(stage, row)


@pytest.mark.parametrize("stage", ["plain"], indirect=True)
async def test_what_the_server_refuses_is_told_to_whoever_sends_it(stage: PoisonStage) -> None:
    """Signal, memo, search attribute, a query's argument; the agent itself is none the worse."""
    agent = await stage.start(ErrandInput())
    request = await stage.asked(agent)
    raw = await somebody(stage)
    forged, large = raw.get_workflow_handle(agent.id), "x" * LARGE
    owner = TypedSearchAttributes([SearchAttributePair(search_attributes.OWNER, "o" * 3000)])
    begin: dict[str, Any] = {"task_queue": stage.settings.task_queue}
    for refused in (
        forged.signal("tell", large),
        raw.start_workflow("errand", {}, id="memo", memo={"note": large}, **begin),
        raw.start_workflow("errand", {}, id="attribute", search_attributes=owner, **begin),
    ):
        with pytest.raises(RPCError):
            await refused
    with pytest.raises((RPCError, WorkflowQueryFailedError)):
        await forged.query("choice", large)
    await forged.signal("tell", "y" * 5000)
    await forged.signal("tell", "z" * 300_000)
    for reason in ("String should have at most 4000 characters", "300002 bytes are too many"):
        await eventually(lambda reason=reason: noted(stage, agent, reason))
    await stage.decide(agent, request, Verdict.REJECT)
    assert (await agent.result())["words"].startswith("approval-1: rejected by ann")


@pytest.mark.soak
@pytest.mark.parametrize("stage", ["plain"], indirect=True)
async def test_an_update_that_is_too_large_holds_its_agent_up_and_no_longer(stage: PoisonStage) -> None:
    """The worker cannot refuse it, as a refusal quotes it; its sender gives up after twenty seconds."""
    agent = await stage.start(ErrandInput())
    request = await stage.asked(agent)
    forged = (await somebody(stage)).get_workflow_handle(agent.id)
    with pytest.raises(RPCError, match="Workflow Task in failed state"):
        await forged.execute_update("look", "x" * LARGE)
    await stage.decide(agent, request, Verdict.REJECT)
    assert (await agent.result())["words"].startswith("approval-1: rejected by ann")


@pytest.mark.parametrize("stage", ["plain"], indirect=True)
async def test_what_cannot_be_read_fails_for_its_reason_or_shows_as_trouble(stage: PoisonStage) -> None:
    """Inputs of another kind, too few or too many, a reference to nowhere; a result that does not fit."""
    raw = await somebody(stage)

    async def begin(*arguments: Any) -> WorkflowHandle[Any, Any]:
        id = f"unreadable-{len(stage.handles)}"
        await raw.start_workflow("poisoned", args=arguments, id=id, task_queue=stage.settings.task_queue)
        stage.handles.append(stage.client.get_workflow_handle(id))
        return stage.handles[-1]

    wrong = "InputRefused: PoisonInput: size (int_parsing)"
    assert await why(await begin({"what": "x", "size": "many"})) == wrong
    assert await why(await begin("no object")) == "InputRefused: PoisonInput: all of it (model_type)"
    assert (await why(await begin())).startswith("PayloadRefused: it was started with 0 arguments")
    assert (await why(await begin({}, {}))).startswith("PayloadRefused: it was started with 2 arguments")
    nowhere = await begin(reference_to_nowhere(f"unreadable-{len(stage.handles)}"))
    failing = "its workflow task fails (attempt "
    await eventually(lambda: is_in_trouble(stage, nowhere, failing))
    # A result that does not fit the code may fit better code: the agent waits for it.
    waiting = await stage.start(PoisonInput(what="failing activity"), "poisoned")
    await eventually(lambda: is_in_trouble(stage, waiting, "keep-failing"))
    [pending] = (await waiting.describe()).raw_description.pending_activities
    activity = raw.get_async_activity_handle(
        workflow_id=waiting.id, run_id=None, activity_id=pending.activity_id
    )
    await activity.complete({"size": "many"})
    await eventually(lambda: is_in_trouble(stage, waiting, failing))

    async def says_why(agent: WorkflowHandle[Any, Any], why: str) -> bool:
        # On a busy machine a task may run out of time for once.
        [trouble] = (await stage.door.view(agent.id)).trouble
        assert trouble.cause is Cause.TASK_FAILS
        return why in trouble.words

    await eventually(lambda: says_why(nowhere, "there is no object"))
    await eventually(lambda: says_why(waiting, "ValidationError"))


@contextlib.asynccontextmanager
async def own_server(
    folder: Path, monkeypatch: pytest.MonkeyPatch, bounds: dict[str, str], *, replays: bool = True
) -> AsyncIterator[PoisonStage]:
    """A stage on a server with bounds of its own."""
    settings = Settings.read({"HIBERNAUT_DATA_DIR": str(folder)})
    async with DevServer(settings, ui_port=None, limits=bounds, scratch=True) as server:
        monkeypatch.setenv("TEMPORAL_ADDRESS", server.address)
        stage = PoisonStage(await connect(settings), settings)
        async with stage.at_work(replays=replays):
            yield stage


@pytest.fixture
async def narrow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[PoisonStage]:
    """A stage on a server that ends a history at 300 events or 200 kB, and takes 60 signals into one."""
    bounds = {
        "limit.historyCount.error": "300",
        "limit.historySize.error": "200000",
        "limit.historySize.suggestContinueAsNew": "50000",
        "history.maximumSignalsPerExecution": "60",
    }
    bounds |= limits.short_histories(40) | limits.QUICK_TASKS
    async with own_server(tmp_path / "narrow", monkeypatch, bounds) as stage:
        yield stage


async def runs_of(stage: Stage, agent: WorkflowHandle[Any, Any]) -> int:
    """How many histories an agent has had."""
    runs, run_id = 0, (await agent.describe()).raw_description.workflow_execution_info.first_run_id
    while run_id:
        runs += 1
        history = await stage.client.get_workflow_handle(agent.id, run_id=run_id).fetch_history()
        ended = history.events[-1].workflow_execution_continued_as_new_event_attributes
        run_id = ended.new_execution_run_id
    return runs


async def told_all(stage: PoisonStage, agent: WorkflowHandle[Any, Any], count: int, at_once: int) -> int:
    """Tell an agent so many words, each until Temporal takes it; how often it did not at first."""
    door, refused, numbers = stage.door, 0, iter(range(count))

    async def tell() -> None:
        nonlocal refused
        for number in numbers:
            while True:
                try:
                    await door.tell(agent.id, f"word {number}")
                    break
                except TooMuchSaidError:
                    refused += 1
                    await asyncio.sleep(0.05)

    await asyncio.gather(*(tell() for _ in range(at_once)))
    return refused


async def lines_of(stage: PoisonStage, agent: WorkflowHandle[Any, Any]) -> int:
    """How many lines its notebook has had, but for the one with which each further history begins."""
    notebook = await stage.query(agent, "notebook", Notebook)
    return notebook.dropped + len(notebook.entries) - (await runs_of(stage, agent) - 1)


async def has_heard(stage: PoisonStage, agent: WorkflowHandle[Any, Any], lines: int) -> bool:
    return await lines_of(stage, agent) >= lines


async def test_histories_at_their_limits_start_afresh(narrow: PoisonStage) -> None:
    """By events and by bytes; more steps than fit into one, and more signals than one takes."""
    narrow.world.step_text = "x" * 5_000
    working = await narrow.start(ErrandInput(steps=52))
    await narrow.decide(working, await narrow.asked(working), Verdict.REJECT)
    assert (await working.result())["memory"]["steps"] == 52
    assert await runs_of(narrow, working) > 3
    asleep = await narrow.start(ErrandInput(steps=0, sleep=timedelta(days=9)))
    await eventually(lambda: state_is(narrow, asleep, "sleeping"))
    began = await lines_of(narrow, asleep)
    refused = await told_all(narrow, asleep, 300, at_once=80)
    assert refused, "no history was full"
    await eventually(lambda: has_heard(narrow, asleep, began + 300))
    assert await lines_of(narrow, asleep) == began + 300
    assert await runs_of(narrow, asleep) >= 6
    await asleep.signal("wake")
    await narrow.decide(asleep, await narrow.asked(asleep), Verdict.REJECT)
    assert (await asleep.result())["memory"]["woken"] == ["signal"]


@pytest.mark.soak
async def test_a_hundred_thousand_signals(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the server's own limits: each is heard, once, and a decision gets through after them."""
    # A replay takes thousands of signals at once, and the SDK's watch for deadlocks goes by the wall clock.
    async with own_server(tmp_path / "wide", monkeypatch, {}, replays=False) as stage:
        await hears_all(stage)


async def hears_all(stage: PoisonStage) -> None:
    agent = await stage.start(ErrandInput(steps=0, sleep=timedelta(days=9)))
    await eventually(lambda: state_is(stage, agent, "sleeping"))
    began = await lines_of(stage, agent)
    await told_all(stage, agent, 100_000, at_once=60)
    await eventually(lambda: has_heard(stage, agent, began + 100_000), 600, every=5)
    assert await lines_of(stage, agent) == began + 100_000
    assert await runs_of(stage, agent) >= 10
    await agent.signal("wake")
    await stage.decide(agent, await stage.asked(agent), Verdict.REJECT)
    assert (await agent.result())["memory"]["woken"] == ["signal"]
