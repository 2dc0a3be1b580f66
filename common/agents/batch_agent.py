"""The kind `batch`: an agent that runs an agent of some kind for each input in a file."""

from __future__ import annotations

from pathlib import PurePath
from typing import Annotated

from pydantic import AfterValidator, BaseModel, Field

from common.agents.agent import AgentInput
from common.agents.batch import AtOnce, BatchCounts, Listing, Quarantined
from common.agents.fields import LocalPath
from common.artifacts import ArtifactRef
from common.names import check_agent_id
from common.shown import Shown


def _known(kind: str) -> str:
    # Imported here because the list of kinds imports this module.
    from common.agents.kinds import check_kind

    return check_kind(kind)


class BatchInput(AgentInput):
    """What a batch is started with."""

    kind: Annotated[str, AfterValidator(_known)] = Field(
        description="the kind of agent for each item; `agents` lists the kinds"
    )
    items: LocalPath = Field(
        description="a file of JSON lines, the input of one agent each; a field `id` names it"
    )
    at_once: AtOnce = Field(20, description="how many agents run at once at most")
    batch: Annotated[str, AfterValidator(lambda id: id and check_agent_id(id))] = Field(
        "", description="the batch's id, by which to find all its agents; if empty, the agent's own id"
    )

    @property
    def subject(self) -> str:
        """What the agent is about, in a few words."""
        return f"Batch of {PurePath(self.items).name}"


class BatchMemory(BaseModel):
    """What it carries over: the listed items."""

    listing: Listing | None = None


class BatchResult(BaseModel):
    """The result: how many were done, and up to twenty of those set aside, with their reasons.

    ``results`` are artifacts of JSON lines, which together have one line for each item.
    """

    batch: str
    items: int
    done: int
    quarantined: int
    duplicates: int
    set_aside: list[Quarantined] = Field(default_factory=list)
    results: Annotated[list[ArtifactRef], Shown("Every verdict", file="verdicts.jsonl")] = Field(
        default_factory=list
    )

    @classmethod
    def of(cls, counts: BatchCounts, batch: str, set_aside: list[Quarantined]) -> BatchResult:
        """The result with these counts."""
        found = counts.model_dump(exclude={"results"})
        return cls(**found, batch=batch, set_aside=set_aside, results=list(counts.results))
