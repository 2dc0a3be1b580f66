"""The part of `starter.py doctor` that looks at workers, and at agents in trouble."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from temporalio.api.enums.v1 import TaskQueueType
from temporalio.client import Client
from temporalio.service import RPCError

from cli.checks import Check, Health
from common.approval.groups import Directory
from common.client.diagnosis import Diagnosis, pollers
from common.client.filters import AgentFilter
from common.client.trouble import Cause
from common.client.view import RunStatus
from common.client.visibility import exactly, in_trouble, quote, rows_of
from common.settings import Settings, SettingsError

# So many workers, and agents in trouble, are named.
SHOWN = 3
# Of the agents that may be in trouble so many are looked at, and for so long.
MOST, PATIENCE = 200, timedelta(seconds=3)
# Trouble that workers with the right code end; else an agent may be right to wait.
TO_MEND = {Cause.NO_WORKER, Cause.TASK_FAILS, Cause.UNKNOWN_KIND, Cause.UNKNOWN_ACTIVITY}


async def worker_check(client: Client, settings: Settings) -> Check:
    """Whether workers poll the task queue, and which."""
    workflows, activities = TaskQueueType.TASK_QUEUE_TYPE_WORKFLOW, TaskQueueType.TASK_QUEUE_TYPE_ACTIVITY
    polled = {
        name: await pollers(client, settings.task_queue, kind)
        for name, kind in (("workflow", workflows), ("activity", activities))
    }
    silent = [name for name, workers in polled.items() if not workers]
    if not silent:
        who = sorted({*polled["workflow"], *polled["activity"]})
        count = "a worker polls" if len(who) == 1 else f"{len(who)} workers poll"
        named = ", ".join(who[:SHOWN]) + (", …" if len(who) > SHOWN else "")
        return Check("worker", Health.OK, f"{count} the task queue {settings.task_queue}: {named}")
    return Check(
        "worker",
        Health.MEND,
        f"none polls the task queue {settings.task_queue} for {' and '.join(silent)} tasks: "
        "start `python worker.py`, or read its log",
    )


async def agents_check(client: Client, settings: Settings) -> Check:
    """Which agents of the task queue are in trouble, and the first few in words."""
    now = datetime.now(UTC)
    ours = [*exactly(AgentFilter(status=RunStatus.RUNNING)), f"TaskQueue = {quote(settings.task_queue)}"]
    try:
        rows = await rows_of(client, [*ours, in_trouble(now)], MOST)
        diagnosis = Diagnosis(client, Directory.load(settings))
        await diagnosis.look(rows, now, most=MOST, patience=PATIENCE)
    except SettingsError as error:
        return Check("agents", Health.UNSEEN, str(error))
    except RPCError as error:
        return Check("agents", Health.UNSEEN, f"not shown: {error.message}")
    found = [row for row in rows if row.trouble]
    if not found:
        return Check("agents", Health.OK, "none is in trouble")
    first = "; ".join(f"{row.id}: {row.trouble[0].words}" for row in found[:SHOWN])
    text = f"{len(found)} in trouble, see `starter.py find --troubled`: {first}"
    mend = any(each.cause in TO_MEND for row in found for each in row.trouble)
    return Check("agents", Health.MEND if mend else Health.WARNING, text)
