"""The part of `starter.py doctor` that looks at workers, and at agents in trouble."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta

from temporalio.api.enums.v1 import TaskQueueType
from temporalio.client import Client
from temporalio.service import RPCError

from cli.checks import Check, Health
from common.agents.kinds import KINDS
from common.agents.states import RunStatus
from common.approval.groups import Directory
from common.client.builds import Builds
from common.client.diagnosis import Diagnosis
from common.client.errors import AgentClientError
from common.client.filters import AgentFilter
from common.client.live_workers import LiveWorker, busiest, live_workers
from common.client.pollers import pollers
from common.client.trouble import Cause
from common.client.visibility import exactly, in_trouble, quote, rows_of
from common.grammar import counted
from common.hints import command
from common.settings import Settings, SettingsError

# How many workers, or agents in trouble, are named.
MAX_NAMED = 3
# A worker silent for this long has probably died.
SILENT_AFTER = timedelta(seconds=25)
# How many agents in possible trouble to diagnose, and for how long.
MAX_DIAGNOSED, PATIENCE = 200, timedelta(seconds=3)
# Causes that only a worker with the right code removes; with others, an agent may be right to wait.
NEEDS_FIX = {Cause.NO_WORKER, Cause.BUILD_GONE, Cause.TASK_FAILS, Cause.UNKNOWN_KIND, Cause.UNKNOWN_ACTIVITY}


async def worker_check(client: Client, settings: Settings) -> Check:
    """Check that workers poll the task queue, name them, and check that new agents reach them."""
    queue = settings.task_queue
    workflows = await pollers(client, queue, TaskQueueType.TASK_QUEUE_TYPE_WORKFLOW)
    activities = await pollers(client, queue, TaskQueueType.TASK_QUEUE_TYPE_ACTIVITY)
    silent = [name for name, found in (("workflow", workflows), ("activity", activities)) if not found.builds]
    if silent:
        fix = f"no worker polls the task queue {queue} for {' and '.join(silent)} tasks"
        return Check("worker", Health.NEEDS_FIX, f"{fix}: start `python worker.py`, or read its log")
    if not workflows.serve(""):
        what = f"the current build is {workflows.current}" if workflows.current else "no build is current"
        fix = "start workers of it" if workflows.current else "`starter.py versions --set-current BUILD`"
        there_are = ", ".join(sorted(each or "unversioned workers" for each in workflows.builds))
        return Check("worker", Health.NEEDS_FIX, f"new agents wait: {what}, and only {there_are} poll: {fix}")
    who = sorted({*workflows.workers, *activities.workers})
    count = "a worker polls" if len(who) == 1 else f"{len(who)} workers poll"
    named = ", ".join(who[:MAX_NAMED]) + (", …" if len(who) > MAX_NAMED else "")
    current = f"; the current build is {workflows.current}" if workflows.current else ""
    found = f"{count} the task queue {queue}: {named}{current}"
    fetches = await pollers(client, settings.fetch_queue, TaskQueueType.TASK_QUEUE_TYPE_ACTIVITY)
    if not fetches.builds:
        return Check("worker", Health.WARNING, f"{found}; no worker polls {fetches.queue}: fetches wait")
    return Check("worker", Health.OK, found)


async def slots_check(client: Client, settings: Settings) -> Check:
    """Show each worker's build and load, from the heartbeats it sends every few seconds."""
    try:
        found = await live_workers(client, settings.task_queue)
    except RPCError as error:
        return Check("slots", Health.UNSEEN, f"not shown: {error.message}")
    if not found:
        return Check("slots", Health.UNSEEN, "no worker has reported yet; each does within 10 s of its start")
    words = "; ".join(map(_busy, busiest(found)[:MAX_NAMED])) + ("; …" if len(found) > MAX_NAMED else "")
    working = [each for each in found if not each.ending]
    if working and all(each.activities.all_used for each in working):
        return Check("slots", Health.WARNING, f"{words}: all take no more calls, start more workers")
    return Check("slots", Health.OK, words)


async def kinds_check(client: Client, settings: Settings) -> Check:
    """Show the kinds each worker serves, and check that every kind is served."""
    try:
        found = [each for each in await live_workers(client, settings.task_queue) if not each.ending]
    except RPCError as error:
        return Check("kinds", Health.UNSEEN, f"not shown: {error.message}")
    telling = [each for each in found if each.kinds and each.silent <= SILENT_AFTER]
    if not telling:
        return Check("kinds", Health.UNSEEN, "no worker has reported its kinds")
    alike = Counter(each.kinds for each in telling)
    if len(alike) == 1:
        words = f"{'each worker' if len(telling) > 1 else 'the worker'} serves {', '.join(sorted(*alike))}"
    else:
        words = "; ".join(
            f"{each.identity} serves {', '.join(sorted(each.kinds))}" for each in telling[:MAX_NAMED]
        )
        words += "; …" if len(telling) > MAX_NAMED else ""
    if unserved := KINDS.keys() - frozenset[str]().union(*alike):
        fix = f"no worker serves {', '.join(sorted(unserved))}: start a worker of this code"
        return Check("kinds", Health.NEEDS_FIX, f"{fix} ({words})")
    return Check("kinds", Health.OK, words)


def _busy(worker: LiveWorker) -> str:
    build = f"build {worker.build.partition(':')[2]}" if worker.build else "no build"
    ends = ", is ending" if worker.ending else ""
    if worker.silent > SILENT_AFTER:
        ends = f", not heard of for {worker.silent.seconds} s"
    return (
        f"{worker.identity} ({build}{ends}): {worker.activities} calls, {worker.workflows} tasks of agents, "
        f"{counted(worker.cached, 'agent')} in memory"
    )


async def builds_check(client: Client, settings: Settings) -> Check:
    """Check for builds that are needed but have no workers, and count the builds."""
    try:
        found = await Builds(client, settings).read()
    except (AgentClientError, RPCError) as error:
        return Check("builds", Health.UNSEEN, f"not shown: {getattr(error, 'message', error)}")
    if not found.name:
        return Check("builds", Health.OK, "none: workers are unversioned")
    gone = [each for each in found.builds if each.needed_by and not each.workers]
    if gone:
        words = "; ".join(f"no worker of build {each.build}: {each.needed_by}" for each in gone[:MAX_NAMED])
        fix = f"start one, or {command('wake', '--for-upgrade', '--build', gone[0].build)}"
        return Check("builds", Health.NEEDS_FIX, f"{words}: {fix}")
    vain = [each.build for each in found.builds if each.status == "unknown"]
    if vain and found.is_near_limit:
        fix = f"the server keeps at most {found.most} builds: `starter.py versions --remove BUILD`"
        return Check(
            "builds", Health.NEEDS_FIX, f"workers of build {', '.join(vain[:MAX_NAMED])} poll in vain: {fix}"
        )
    count = f"{len(found.builds)} of at most {found.most} in the deployment {found.name}"
    if found.is_near_limit:
        fix = "the server takes no workers of a build past that: `starter.py versions --remove BUILD`"
        return Check("builds", Health.WARNING, f"{count}; {fix}")
    return Check("builds", Health.OK, count)


async def agents_check(client: Client, settings: Settings) -> Check:
    """Check for agents in trouble on the task queue, and describe the first few."""
    now = datetime.now(UTC)
    ours = [*exactly(AgentFilter(status=RunStatus.RUNNING)), f"TaskQueue = {quote(settings.task_queue)}"]
    try:
        diagnosis = Diagnosis(client, Directory.load(settings), settings.task_queue)
        rows = await rows_of(client, [*ours, in_trouble(now, await diagnosis.workers())], MAX_DIAGNOSED)
        await diagnosis.look(rows, now, most=MAX_DIAGNOSED, patience=PATIENCE)
    except SettingsError as error:
        return Check("agents", Health.UNSEEN, str(error))
    except RPCError as error:
        return Check("agents", Health.UNSEEN, f"not shown: {error.message}")
    found = [row for row in rows if row.trouble]
    if not found:
        return Check("agents", Health.OK, "no agent is in trouble")
    first = "; ".join(f"{row.id}: {row.trouble[0].words}" for row in found[:MAX_NAMED])
    text = f"{len(found)} in trouble, see `starter.py find --troubled`: {first}"
    fix = any(each.cause in NEEDS_FIX for row in found for each in row.trouble)
    return Check("agents", Health.NEEDS_FIX if fix else Health.WARNING, text)
