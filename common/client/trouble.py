"""Why an agent makes no progress: the cause, in words, and what to do about it."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from enum import StrEnum

from pydantic import BaseModel
from temporalio.api.enums.v1 import PendingActivityState
from temporalio.api.workflow.v1 import PendingActivityInfo

from common.client.pollers import Pollers
from common.hints import command

# Report a call that has failed this often, or is not retried for this long; before, it may be a hiccup.
FAILING_ATTEMPTS = 3
LONG_UNTIL_NEXT = timedelta(minutes=1)
# How much to show of an error message.
MAX_ERROR = 200
# From the SDK worker's error message about a workflow or activity it does not have.
NOT_REGISTERED = "is not registered on this worker"

# What is said of a workflow task that its worker did not end.
NOT_IN_TIME = "it does not end in time"


class Cause(StrEnum):
    """What the trouble is. Scripts depend on these words."""

    STUCK = "stuck"
    TASK_FAILS = "task_fails"
    UNKNOWN_KIND = "unknown_kind"
    ACTIVITY_FAILS = "activity_fails"
    UNKNOWN_ACTIVITY = "unknown_activity"
    NO_WORKER = "no_worker"
    BUILD_GONE = "build_gone"
    LONG_HISTORY = "long_history"
    WAITS_FOR_NOBODY = "waits_for_nobody"


class Trouble(BaseModel, frozen=True):
    """One reason why a running agent makes no progress: `words` say it in a line, `fix` what to do."""

    cause: Cause
    words: str
    fix: str


def stuck(id: str, node: str, missing: str = "") -> Trouble:
    """The agent reports that what it needs is `missing`, or that a call takes longer than expected."""
    if missing:
        return Trouble(
            cause=Cause.STUCK,
            words=f"it cannot go on: {missing}",
            fix=f"once that is fixed, run `starter.py wake {id}`, or wait: it looks again within the hour",
        )
    words = f"a call at {node or 'the start'} has failed or waited for long; it is retried"
    return Trouble(cause=Cause.STUCK, words=words, fix=f"{command('show', id)} says what it tries")


def failing_task(id: str, kind: str, attempt: int, error: str, worker: str = "") -> Trouble:
    """The agent's own code fails, so it makes no progress and answers nothing.

    Args:
        id: the agent.
        kind: its kind.
        attempt: the attempt at its workflow task that is under way, or comes next; 0 if unknown.
        error: why the last one failed.
        worker: the worker of that attempt, if known.
    """
    last = f", the last by {worker}" if worker else ""
    which = f" (attempt {attempt}{last})" if attempt else ""
    if NOT_REGISTERED in error:
        return Trouble(
            cause=Cause.UNKNOWN_KIND,
            words=f"no worker has the kind {kind}{which}",
            fix="start a worker whose code has it (common/agents/kinds.py names the kinds), "
            "or end the agent: "
            f"`temporal workflow terminate -w {shlex.quote(id)}`",
        )
    return Trouble(
        cause=Cause.TASK_FAILS,
        words=f"its workflow task fails{which}: {error}",
        fix="fix its code, or what the code needs, and the agent goes on by itself; "
        f"{command('logs', id)} has more",
    )


def failing_activity(pending: PendingActivityInfo, error: str, now: datetime) -> Trouble | None:
    """A call whose attempts fail, with the last error; None if it may be a hiccup."""
    waits = pending.state == PendingActivityState.PENDING_ACTIVITY_STATE_SCHEDULED
    next_at = pending.next_attempt_schedule_time.ToDatetime(UTC) if waits else now
    if not error or (pending.attempt < FAILING_ATTEMPTS and next_at - now < LONG_UNTIL_NEXT):
        return None
    name = pending.activity_type.name
    most = f" of {pending.maximum_attempts}" if pending.maximum_attempts else ""
    then = f"next try at {next_at:%Y-%m-%d %H:%M:%S} UTC" if waits and next_at > now else "under way"
    if NOT_REGISTERED in error:
        last = f", the last by {pending.last_worker_identity}" if pending.last_worker_identity else ""
        return Trouble(
            cause=Cause.UNKNOWN_ACTIVITY,
            words=f"no worker has the activity {name}: attempt {pending.attempt}{most}, {then}{last}",
            fix="start a worker whose code has it, and the agent goes on by itself",
        )
    return Trouble(
        cause=Cause.ACTIVITY_FAILS,
        words=f"{name}: attempt {pending.attempt}{most}, {then}, last error {error}",
        fix="fix what the error names; the agent goes on by itself with the next attempt that succeeds",
    )


def no_worker(queue: str, since: datetime, workers: Pollers) -> Trouble:
    """None of the `workers` that poll the agent's task queue takes its task."""
    who, fix = "no worker polls", f"start a worker of the task queue {queue}"
    if workers.current:
        build = workers.current.rpartition(":")[2]
        who, fix = f"no worker of the current build {build} polls", f"start a worker of build {build}"
    elif workers.builds:
        who = "no build is current, and no unversioned worker polls"
        fix = "`starter.py versions --set-current BUILD`"
    return Trouble(
        cause=Cause.NO_WORKER,
        words=f"its task has waited since {since:%Y-%m-%d %H:%M:%S} UTC: {who} {queue}",
        fix=f"{fix}; nothing is lost until then",
    )


def build_gone(build: str) -> Trouble:
    """The agent is pinned to a build without workers: what is sent to it is kept, and nothing happens."""
    name = build.rpartition(":")[2]
    return Trouble(
        cause=Cause.BUILD_GONE,
        words=f"it is pinned to build {name}, for which no worker polls: it does nothing and answers nothing",
        fix=f"start a worker of build {name}, or move to the current one all that are pinned to it: "
        f"{command('wake', '--for-upgrade', '--build', name)}",
    )


def overslept(wake_at: datetime) -> Trouble:
    """The time to wake has passed, and the agent has not woken."""
    return Trouble(
        cause=Cause.NO_WORKER,
        words=f"it should have woken at {wake_at:%Y-%m-%d %H:%M:%S} UTC: no worker takes its task",
        fix="start a worker; nothing is lost until then",
    )


def nobody_decides(id: str, named: Sequence[str], needed: int = 1, people: int = 0) -> Trouble:
    """An approval that cannot come: too few of those `named` are people who may decide."""
    who, mend = ", ".join(named), "add people to the group in HIBERNAUT_GROUPS"
    if not named:
        enough, mend = "its policy names no approvers", "name some in its code"
    elif people:
        enough = f"{needed} must approve, and {people} of {who} may"
    else:
        enough = f"of {who} nobody can decide"
    return Trouble(
        cause=Cause.WAITS_FOR_NOBODY,
        words=f"it waits for an approval that cannot come: {enough}",
        fix=f"{mend}, or end it with {command('cancel', id)}",
    )


def nobody_wakes(id: str) -> Trouble:
    """A sleep that only the signal `wake` can end."""
    return Trouble(
        cause=Cause.WAITS_FOR_NOBODY,
        words="it sleeps without an end, and waits for nothing",
        fix=f"{command('wake', id)}, or {command('cancel', id)}",
    )
