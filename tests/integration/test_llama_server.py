"""Every agent that thinks against a real language model's server, whose small model talks nonsense.

`make soak` runs this where `make llama-server` has built the server.
"""

from __future__ import annotations

import asyncio
import signal
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from temporalio.client import WorkflowHandle

from common.agents.buyer import BuyerResult
from common.agents.researcher import ResearchResult
from common.approval.types import ApprovalRequest, Verdict
from common.settings import Settings
from common.temporal.connect import connect
from testing.waiting import eventually
from tests.support.agents.talker_doubles import TalkInput
from tests.support.llama import build
from tests.support.llama.server import LlamaServer, schema_enforcing_proxy
from tests.support.llama.stage import MODEL, PATIENCE, ThinkersStage
from tests.support.recruiting.stage import recruiter_input
from tests.support.research_stage import open_site
from tests.support.stage import OWNER, Stage
from tests.support.web import WebServer

pytestmark = [
    pytest.mark.soak,
    pytest.mark.skipif(not build.is_built(), reason=f"no llama-server in {build.HOME}: {build.HOW}"),
]
CASE = (
    "The bank's earnings are weak this quarter and its credit risk has risen. "
    "Its outlook for the year is cautious, and its price is low. "
)


@pytest.fixture(scope="module")
async def llama(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[LlamaServer]:
    """The server, one for all tests of this file."""
    server = LlamaServer(tmp_path_factory.mktemp("llama"))
    await server.start()
    try:
        yield server
    finally:
        server.kill()


@pytest.fixture
def site() -> Iterator[WebServer]:
    with WebServer(host="127.0.0.2") as site:
        open_site(site)
        yield site


@pytest.fixture
async def stage(settings: Settings, tmp_path: Path, llama: LlamaServer, site: WebServer) -> ThinkersStage:
    """A stage that thinks with the server; its test puts it to work."""
    stage = ThinkersStage(Stage(await connect(settings), settings), tmp_path)
    stage.allow(site)
    stage.think_with(f"{llama.address}/v1")
    return stage


def a_folder(at: Path, text: str) -> str:
    at.mkdir()
    (at / "report.txt").write_text(text)
    return str(at)


Handle = WorkflowHandle[object, object]


async def buyer_asks_and_is_refused(stage: ThinkersStage) -> None:
    agent = await stage.buy(documents=a_folder(stage.folder / "documents", CASE))
    request = await stage.asked(agent)
    assert request.plan["model"] == MODEL
    await stage.decide(agent, request, Verdict.REJECT, note="nonsense")
    assert BuyerResult.model_validate(await agent.result()).outcome == "not_approved"


async def researcher_asks_and_is_refused(stage: ThinkersStage, site: WebServer) -> None:
    agent = await stage.research(site)
    request = await stage.asked(agent)
    notes = await stage.notes(agent)
    refused = sum("the language model gave nothing to use" in note for note in notes)
    # Either a model has read a page, with quotes that stand in it, or rules have, and that is said.
    assert set(request.plan["model"].split(", ")) <= {MODEL, "offline"}
    assert refused or MODEL in request.plan["model"]
    await stage.decide(agent, request, Verdict.REJECT, by=OWNER, note="nonsense")
    assert ResearchResult.model_validate(await agent.result()).outcome == "not_approved"


async def recruiter_asks_and_writes(stage: ThinkersStage) -> None:
    agent = await stage.start(recruiter_input(1), "recruiter")
    request = await stage.asked(agent)
    assert request.plan["model"] in (MODEL, "offline")
    assert 0 < len(request.plan["opening"]) <= 800
    await stage.decide(agent, request)

    async def at(*names: str) -> bool:
        return (await stage.office.candidacy(agent)).stage in names

    await eventually(lambda: at("asked"), PATIENCE)
    await stage.office.writes(agent, "c1", "What does the position pay, and where is it?")
    await eventually(lambda: at("with_a_human", "slots_proposed", "declined"), PATIENCE)

    async def asks_or_has_ended() -> ApprovalRequest | str | None:
        if not await at("with_a_human"):
            return "the model took it for an answer, which the rules do not contradict"
        return await stage.asked(agent)

    found = await eventually(asks_or_has_ended, PATIENCE)
    if isinstance(found, ApprovalRequest):
        assert found.plan["model"] in (MODEL, "offline")
        assert found.plan["text"]


async def talker_talks(stage: ThinkersStage, rounds: int = 3) -> None:
    agent = await stage.start(TalkInput(rounds=rounds, max_output_tokens=60), "talker")
    assert (await agent.result())["models"] == [MODEL] * rounds


@pytest.mark.parametrize("schemas", [False, True], ids=["free", "held-to-schemas"])
async def test_every_agent_that_thinks_ends_or_asks_and_both_sides_count_the_same(
    schemas: bool, stage: ThinkersStage, llama: LlamaServer, site: WebServer
) -> None:
    """All of them at once, two answers at a time: what is said is used where it holds, else refused."""
    before = llama.counted()
    with schema_enforcing_proxy(llama) as front:
        if schemas:
            stage.think_with(front)
        async with stage.at_work():
            await asyncio.gather(
                buyer_asks_and_is_refused(stage),
                researcher_asks_and_is_refused(stage, site),
                recruiter_asks_and_writes(stage),
                talker_talks(stage),
            )
            assert not await stage.failed_tasks()
            notes = [note for handle in stage.handles for note in await stage.notes(handle)]
            for handle in stage.handles:
                cost = (await stage.status(handle)).cost
                assert (cost.input_tokens, cost.output_tokens) == stage.answered(handle.id), handle.id
    calls, counted = stage.calls(), llama.counted()
    assert {state for _, state, _, _ in calls} <= {"answered", "released"}
    assert (counted[0] - before[0], counted[1] - before[1]) == stage.answered()
    repaired = sum("the first answer was invalid and was repaired" in note for note in notes)
    refused = sum("gave nothing to use" in note or "was not understood" in note for note in notes)
    by_node = dict(Counter(node for node, *_ in calls))
    print(
        f"{len(calls)} calls {by_node}, tokens {stage.answered()} in the ledger, "
        f"{counted[0] - before[0], counted[1] - before[1]} at the server; "
        f"repaired {repaired}, refused {refused}"
    )


async def test_an_answer_whose_server_is_killed_is_asked_for_again(
    stage: ThinkersStage, llama: LlamaServer
) -> None:
    """SIGKILL in the middle, and the server comes back: it goes on, and what was lost counts at its most."""
    async with stage.at_work():
        agent = await stage.start(TalkInput(rounds=3, max_output_tokens=120), "talker")
        await eventually(llama.is_answering, PATIENCE, every=0.05)
        llama.kill()
        await llama.start()
        assert (await agent.result())["rounds"] == 3
        assert not await stage.failed_tasks()
    calls = stage.calls(agent.id)
    assert [state for _, state, _, _ in calls].count("lost") >= 1
    assert [state for _, state, _, _ in calls].count("answered") == 3
    assert llama.counted() == stage.answered(agent.id)
    print(f"{len(calls)} calls, tokens {stage.answered(agent.id)}, lost at {max(c[2] for c in calls)}")


async def test_an_answer_that_never_ends_is_given_up_and_asked_for_again(
    stage: ThinkersStage, llama: LlamaServer
) -> None:
    """The server stands still in the middle; past HIBERNAUT_MODEL_SECONDS the call is lost, not the agent."""
    stage.think_with(f"{llama.address}/v1", seconds=20)
    async with stage.at_work():
        agent = await stage.start(TalkInput(rounds=2, max_output_tokens=40), "talker")
        await eventually(llama.is_answering, PATIENCE, every=0.05)
        llama.signal(signal.SIGSTOP)
        try:
            await eventually(lambda: any(each[1] == "lost" for each in stage.calls(agent.id)), PATIENCE)
        finally:
            llama.signal(signal.SIGCONT)
        assert (await agent.result())["rounds"] == 2
        assert not await stage.failed_tasks()
    states = [state for _, state, _, _ in stage.calls(agent.id)]
    assert states.count("answered") == 2
    print(f"{len(states)} calls: {states}")


async def test_material_past_the_context_is_cut_and_that_is_said(
    stage: ThinkersStage, llama: LlamaServer
) -> None:
    """Refused by the server before it read a word: that costs nothing, and people see how much was given."""
    before = llama.counted()
    async with stage.at_work():
        agent = await stage.buy(documents=a_folder(stage.folder / "long", CASE * 60))
        request = await stage.asked(agent)
        assert request.plan["model"] == MODEL
        notes = await stage.notes(agent)
        assert any(f"the material was too long for {MODEL}" in note for note in notes), notes
        await stage.decide(agent, request, Verdict.REJECT, note="nonsense")
        await agent.result()
        assert not await stage.failed_tasks()
    states = [state for _, state, _, _ in stage.calls()]
    assert states.count("answered") == 1
    assert states.count("released") >= 1
    counted = llama.counted()
    assert (counted[0] - before[0], counted[1] - before[1]) == stage.answered()
    print(f"{len(states)} calls: {states}")
