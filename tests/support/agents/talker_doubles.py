"""What the talking agent takes and remembers, and a model inside the test's process."""

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
    """What the talking agent takes."""

    rounds: int
    wait_between: bool = False
    needs: Needs | None = None
    max_output_tokens: int = Think.model_fields["max_output_tokens"].default
    heartbeat: timedelta = timedelta(seconds=30)


class Talked(BaseModel):
    """What the talking agent remembers and returns."""

    rounds: int = 0
    models: list[str] = Field(default_factory=list)
    transcript: ArtifactRef | None = None


class TestModel:
    """Answers 2 KB for 40 tokens, and keeps what it was sent."""

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
