"""Input and memory of the talking agent, and an in-process model."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

from pydantic import BaseModel, Field

from activities.llm.failures import ProviderError
from activities.llm.prompt import Completion, Prompt
from activities.llm.records import Think
from common.agents.agent import ThinkerInput
from common.agents.needs import Needs
from common.artifacts import ArtifactRef


class TalkInput(ThinkerInput):
    """The talking agent's input."""

    rounds: int
    wait_between: bool = False
    needs: Needs | None = None
    max_output_tokens: int = Think.model_fields["max_output_tokens"].default
    heartbeat: timedelta = timedelta(seconds=30)


class Talked(BaseModel):
    """The talking agent's memory and result."""

    rounds: int = 0
    models: list[str] = Field(default_factory=list)
    transcript: ArtifactRef | None = None


class TestModel:
    """Answers with 2 KB for 40 tokens, and records its prompts."""

    __test__ = False

    def __init__(self) -> None:
        self.prompts: list[Prompt] = []
        self.refuse_once: ProviderError | None = None
        self.on_prompt: Callable[[], object] = lambda: None

    def complete(self, prompt: Prompt, attempt: int) -> Completion:
        if self.refuse_once:
            refusal, self.refuse_once = self.refuse_once, None
            raise refusal
        self.prompts.append(prompt)
        self.on_prompt()
        return Completion(text=f"{len(self.prompts):04}" * 512, input_tokens=30, output_tokens=10)
