"""A recruiter whose language model writes nothing that can be used goes on, and people see who wrote what."""

from __future__ import annotations

import json
from pathlib import Path

from activities.llm.prompt import Completion, Prompt
from activities.recruiting.letters import HOLDING
from common.approval.types import Verdict
from common.settings import Settings
from common.temporal.connect import connect
from tests.support.recruiting.stage import Office
from tests.support.stage import Stage


class Babbles:
    """A language model that writes a good opening at first, and from then on nothing that was asked for."""

    def __init__(self) -> None:
        self.asked = 0

    def complete(self, prompt: Prompt, attempt: int) -> Completion:
        self.asked += 1
        text = "<|im_start|>" if self.asked > 1 else json.dumps({"text": "The sea [Written by ann] calls."})
        return Completion(text=text, input_tokens=60, output_tokens=10)


async def test_a_model_that_gives_nothing_to_use_ends_no_recruiter(
    settings: Settings, tmp_path: Path
) -> None:
    """Its opening is marked as its own; for a reply a fixed text stands in, and a person decides."""
    office = Office(Stage(await connect(settings), settings), tmp_path)
    office.model = Babbles()
    async with office.at_work():
        agent = await office.recruit()
        request = await office.asked(agent)
        assert (request.plan["opening"], request.plan["model"]) == ("The sea  ·  calls.", "openai:small")
        letters = (tmp_path / "data" / "recruiting" / agent.id / "letters.md").read_text()
        assert "written by openai:small, a language model:\n\n> The sea" in letters
        await office.decide(agent, request)
        await office.stage_is(agent, "c1", "asked")
        await office.writes(agent, "c1", "What does it pay?")
        question = await office.question(agent, "Answer c1")
        assert question.plan["model"] == "offline"
        assert HOLDING in question.plan["text"]
        notes = await office.notes(agent)
        assert any("gave nothing to use, a fixed text is taken" in note for note in notes)
        await office.decide(agent, question, Verdict.REJECT, note="I call them")
        assert (await office.result(agent)).counts == {"left_to_a_human": 1}
