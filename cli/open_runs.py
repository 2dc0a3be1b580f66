"""Open workflows on this program's task queue: all, or a sample per kind, node and build."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from temporalio.api.workflow.v1 import WorkflowExecutionInfo
from temporalio.client import Client

from common.client.rows import row_of_info
from common.client.visibility import infos_of, quote
from common.settings import Settings
from common.temporal import search_attributes


@dataclass(frozen=True)
class OpenRun:
    """An open run as visibility shows it; `build` is empty for unversioned workers."""

    id: str
    run_id: str
    kind: str
    owner: str
    node: str
    build: str

    @classmethod
    def of(cls, info: WorkflowExecutionInfo) -> OpenRun:
        """From a visibility record."""
        row, build = row_of_info(info), info.search_attributes.indexed_fields.get(search_attributes.BUILD)
        return cls(row.id, row.run_id, row.kind, row.owner, row.node, json.loads(build.data) if build else "")


@dataclass
class _Group:
    """A sample of one kind, node and build: the newest and the oldest, which may be of different code."""

    size: int
    newest: list[OpenRun] = field(default_factory=list)
    oldest: deque[OpenRun] = field(default_factory=deque)

    def take(self, run: OpenRun) -> None:
        """Add a run; runs come newest first."""
        if len(self.newest) < -(-self.size // 2):
            self.newest.append(run)
            return
        self.oldest.append(run)
        if len(self.oldest) > self.size // 2:
            self.oldest.popleft()


def conditions(settings: Settings, kind: str | None, owner: str | None) -> list[str]:
    """The visibility query's conditions: only runs on this task queue can break with this code."""
    wanted = {
        "ExecutionStatus": "Running",
        "TaskQueue": settings.task_queue,
        "WorkflowType": kind,
        search_attributes.OWNER.name: owner,
    }
    return [f"{name} = {quote(value)}" for name, value in wanted.items() if value is not None]


async def open_runs(
    client: Client, conditions: Sequence[str], sample: int | None
) -> tuple[Iterable[OpenRun], int]:
    """Runs that match, at most `sample` per kind, node and build; and how many match in all."""
    groups: dict[tuple[str, str, str], _Group] = {}
    every: list[OpenRun] = []
    count = 0
    async for info in infos_of(client, conditions):
        count += 1
        run = OpenRun.of(info)
        if sample is None:
            every.append(run)
        else:
            groups.setdefault((run.kind, run.node, run.build), _Group(sample)).take(run)
    sampled = [run for group in groups.values() for run in (*group.newest, *group.oldest)]
    return sampled or every, count
