"""A gateway over a stage of batches: agents of a batch that ask, and people who decide."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from temporalio.client import WorkflowHandle

from cli.dev_server import DevServer
from common.agents.batch_agent import BatchInput
from common.client.batch_decisions import BatchDecisions
from common.client.batch_questions import AskedItem
from common.client.client import AgentClient
from common.client.tokens import Scope, TokenFile
from testing.waiting import eventually
from tests.support.agents.brief_input import BriefInput
from tests.support.batching import BatchStage, know_brief
from tests.support.gateway.world import ALL, GatewayWorld, bearer, open_world


@dataclass
class BatchWorld:
    """The gateway and its people, and the stage whose agents they see."""

    world: GatewayWorld
    stage: BatchStage
    folder: Path

    def __post_init__(self) -> None:
        self.agents = AgentClient(self.stage.client, self.world.settings, self.stage.signer)
        self.gathered = BatchDecisions(self.stage.client, self.agents)

    def as_(self, who: str) -> dict[str, str]:
        """The headers of a person's request."""
        return bearer(self.world.issuer.token(who, ALL))

    async def batch(self, name: str, endings: dict[str, str], **more: Any) -> WorkflowHandle[Any, Any]:
        """Start a batch called `name` of agents with these endings; wait until all that ask have asked."""
        file = self.folder / f"{name}.jsonl"
        inputs = {key: BriefInput(ending=ending) for key, ending in endings.items()}
        lines = (
            input.model_copy(update={"say": key}).model_dump_json(exclude_defaults=True)[:-1]
            + f', "id": "{key}"}}'
            for key, input in inputs.items()
        )
        file.write_text("\n".join(lines))
        agent = await self.stage.start(
            BatchInput(kind="brief", items=str(file), batch=name, **more), "batch", id=f"agent-of-{name}"
        )
        asks = sum(ending.startswith("asks") for ending in endings.values())

        async def all_ask() -> bool:
            now = await self.stage.standing(agent)
            begun = now.in_flight + now.done + now.quarantined
            return begun > 0 and now.asking == asks and len(await self.asked(name)) == asks

        await eventually(all_ask)
        return agent

    async def asked(self, batch: str) -> list[AskedItem]:
        """All questions of a batch's agents."""
        return list((await self.gathered.page(batch, lambda *_: True)).items)


@contextlib.asynccontextmanager
async def open_batches(server: DevServer, folder: Path) -> AsyncIterator[BatchWorld]:
    """A gateway and a worker for batches of brief agents; ann decides their questions."""
    with pytest.MonkeyPatch.context() as patch:
        know_brief(patch)
        async with open_world(server, folder, works=False) as world:
            TokenFile.of(world.settings).add("ann", [Scope.READ, Scope.DECIDE], "local-ann")
            TokenFile.of(world.settings).add("owner-1", [Scope.READ, Scope.WRITE], "local-owner-1")
            stage = BatchStage(world.desk.client, world.settings)
            async with stage.at_work(replays=False):
                world.desk.patient = True
                # Outside the data folder, which no agent may read.
                files = folder.with_name(f"{folder.name}-items")
                files.mkdir()
                yield BatchWorld(world, stage, files)
