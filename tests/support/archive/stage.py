"""A stage with an archivist, on its own server: on a shared one it would archive other tests' agents."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from temporalio.client import WorkflowHandle
from temporalio.common import SearchAttributePair, TypedSearchAttributes
from temporalio.testing import ActivityEnvironment

import worker
from activities.archive import agents as archiving
from activities.archive.agents import AgentArchiver
from activities.archive.records import DueAgent, StoreOutcome, StoreRequest
from cli.dev_server import DevServer
from common.agent_objects import files_prefix, objects_of, work_prefix
from common.approval.groups import Directory
from common.approval.signed import sign_start
from common.archive import search as searching
from common.archive.anchor import ArchiveAnchor
from common.archive.chain import Verified, verify
from common.archive.layout import (
    ARCHIVIST,
    ERASER,
    ArchiveReport,
    ArchiveRequest,
    Erased,
    EraseRequest,
    agent_folder,
)
from common.archive.reader import ArchivedAgents
from common.archive.search import AgentSearch
from common.artifacts import ArtifactStore
from common.client.client import AgentClient
from common.client.diagnosis import Diagnosis
from common.client.view import patient_view_of
from common.notices.types import COURIER, courier_id
from common.object_store import ObjectStore, StoredObject, open_store
from common.settings import Settings
from common.temporal import search_attributes
from common.temporal.connect import connect
from testing.fixtures import open_all
from testing.waiting import eventually
from tests.support.agents.keepers import KeeperAgent, KeeperInput
from tests.support.limits import QUICK_DELETION, QUICK_TASKS
from tests.support.stage import OWNER, Stage
from workflows.archivist import Archivist, Eraser

NOW = timedelta()


class ArchiveStage(Stage):
    """A stage whose worker also archives."""

    def __init__(self, client: Any, settings: Settings) -> None:
        super().__init__(client, settings)
        self.agents = [*self.agents, KeeperAgent, Archivist, Eraser]

    def objects(self) -> list[Any]:
        return [*super().objects(), *worker.archive_objects(self.client, self.settings)]

    @property
    def store(self) -> ObjectStore:
        return open_store(self.settings)

    @property
    def archived(self) -> ArchivedAgents:
        return ArchivedAgents.open(self.settings)

    @property
    def search(self) -> AgentSearch:
        diagnosis = Diagnosis(self.client, Directory.load(self.settings), self.settings.task_queue)
        return AgentSearch(self.client, self.archived, diagnosis)

    async def courier(self, agent: str, owner: str) -> WorkflowHandle[Any, Any]:
        """A courier for an agent's notice that has not begun anything."""
        id = courier_id(f"{agent}/{owner}/1")
        attributes = TypedSearchAttributes([SearchAttributePair(search_attributes.OWNER, owner)])
        return await self.client.start_workflow(
            COURIER, "a plan", id=id, task_queue="nobody's", search_attributes=attributes
        )

    async def begin_archiving(
        self, older_than: timedelta | None = NOW, dry_run: bool = False
    ) -> WorkflowHandle[Any, ArchiveReport]:
        return await self.client.start_workflow(
            ARCHIVIST,
            sign_start(ARCHIVIST, ArchiveRequest(older_than=older_than, dry_run=dry_run), self.signer),
            id=ARCHIVIST,
            task_queue=self.settings.task_queue,
            result_type=ArchiveReport,
        )

    async def archive(self, older_than: timedelta | None = NOW, dry_run: bool = False) -> ArchiveReport:
        return await (await self.begin_archiving(older_than, dry_run)).result()

    async def copy_alone(self, handle: WorkflowHandle[Any, Any]) -> None:
        """Copy a closed agent but enter nothing, like an archivist that is killed in between."""
        archiver = AgentArchiver(self.client, self.store, self.settings)
        agent = DueAgent(id=handle.id, run_id=(await handle.describe()).run_id or "")
        request = StoreRequest(agent=agent, at=datetime.now(UTC), older_than=NOW)
        assert (await ActivityEnvironment().run(archiver.store, request)).fate is StoreOutcome.STORED
        assert list(self.store.list(agent_folder("keeper", handle.id)))

    def own_objects(self, handle: WorkflowHandle[Any, Any]) -> list[StoredObject]:
        """Store an artifact, a file and a journal of the agent."""
        ArtifactStore.of(self.settings).put(b"a page", handle.id)
        self.store.put(f"{files_prefix(handle.id)}report.html/000000", b"a report")
        self.store.put(f"{work_prefix(handle.id)}scan/journal", b"a journal")
        return objects_of(self.store, [handle.id])

    async def verify(self) -> Verified:
        anchor = await ArchiveAnchor(self.client, self.settings).head()
        return verify(self.store, anchor)

    async def forget(self, owner: str) -> Erased:
        return await self.client.execute_workflow(
            ERASER,
            sign_start(ERASER, EraseRequest(owner=owner, until=datetime.now(UTC)), self.signer),
            id=ARCHIVIST,
            task_queue=self.settings.task_queue,
            result_type=Erased,
        )

    async def kept(self, owner: str = OWNER, **input: Any) -> WorkflowHandle[Any, Any]:
        """A keeper that has ended."""
        agents = AgentClient(self.client, self.settings, self.signer)
        id = await agents.start("keeper", KeeperInput(**input), owner=owner)
        handle = self.client.get_workflow_handle(id)
        self.handles.append(handle)

        async def asleep() -> bool:
            found = await self.attributes(handle)
            return found.get("AgentState") == "sleeping"

        await eventually(asleep)
        await handle.signal("tell", "well done")
        await handle.signal("wake", None)
        await eventually(lambda: closed(handle))
        return handle


async def closed(handle: WorkflowHandle[Any, Any]) -> bool:
    """Whether visibility also knows that it has closed."""
    return await listed(handle, " AND CloseTime IS NOT NULL AND ExecutionStatus != 'ContinuedAsNew'")


async def listed(handle: WorkflowHandle[Any, Any], more: str = "") -> bool:
    """Whether visibility lists it, under `more` conditions."""
    found = handle._client.list_workflows(f"WorkflowId = '{handle.id}'{more}")
    return bool([each async for each in found])


@pytest.fixture
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Retry queries of closed agents: a worker that evicts a run loses its queries."""
    for module in (archiving, searching):
        monkeypatch.setattr(module, "patient_view_of", partial(patient_view_of, attempts=20))


@asynccontextmanager
async def archive_stage(
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    *,
    encrypted: bool = True,
    ui_port: int | None = None,
    **changes: str,
) -> AsyncIterator[ArchiveStage]:
    open_all(folder)
    settings = Settings.read(
        {
            "HIBERNAUT_DATA_DIR": str(folder),
            "HIBERNAUT_TASK_QUEUE": "archive",
            **({"HIBERNAUT_PAYLOAD_KEYS": f"k1:{secrets.token_hex(32)}"} if encrypted else {}),
            **changes,
        }
    )
    async with DevServer(
        settings, ui_port=ui_port, limits=QUICK_TASKS | QUICK_DELETION, scratch=True
    ) as server:
        monkeypatch.setenv("TEMPORAL_ADDRESS", server.address)
        stage = ArchiveStage(await connect(settings), settings)
        await stage.work()
        try:
            yield stage
        finally:
            await stage.rest()
