"""The one registry of search attributes, and the helpers that keep their values within limits.

The server terminates a workflow whose value is over 2,048 bytes, and on PostgreSQL and MySQL a keyword has at
most 255 characters: a longer one would keep the agent out of every list for ever. So every value passes
``fit`` or ``fit_list``. They hold no personal data: owners and approvers are opaque ids.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any

from temporalio.common import SearchAttributeKey
from temporalio.service import RPCError

OWNER = SearchAttributeKey.for_keyword("AgentOwner")
NODE = SearchAttributeKey.for_keyword("AgentNode")
STATE = SearchAttributeKey.for_keyword("AgentState")
WAITING_FOR = SearchAttributeKey.for_keyword("AgentWaitingFor")
BATCH_ID = SearchAttributeKey.for_keyword("AgentBatchId")
FAILURE = SearchAttributeKey.for_keyword("AgentFailure")
NODE_SINCE = SearchAttributeKey.for_datetime("AgentNodeSince")
WAKE_AT = SearchAttributeKey.for_datetime("AgentWakeAt")
STUCK_AT = SearchAttributeKey.for_keyword_list("AgentStuckAt")
APPROVERS = SearchAttributeKey.for_keyword_list("AgentApprovers")

REGISTRY: tuple[SearchAttributeKey[Any], ...] = (
    OWNER, NODE, STATE, WAITING_FOR, BATCH_ID, FAILURE, NODE_SINCE, WAKE_AT, STUCK_AT, APPROVERS,
)  # fmt: skip

# The server's error for a query or a start that names an attribute it does not know.
_UNKNOWN = re.compile(r"(?:invalid search attribute:|no mapping defined for search attribute) (\w+)$")

# The server's own: the build that completed a workflow's last task, as `deployment:build`, and whether the
# workflow is pinned to it.
BUILD, BEHAVIOR, PINNED = "TemporalWorkerDeploymentVersion", "TemporalWorkflowVersioningBehavior", "Pinned"

# The server's own, on workflows whose task has failed or timed out several times in a row.
PROBLEMS = "TemporalReportedProblems"

# `AgentWaitingFor` begins with this if a human is asked.
APPROVAL = "approval "
# And with this, if the agent is stuck because something it needs is not there.
MISSING = "what is missing: "
# Separates several things that an agent waits for at once.
SEPARATOR = "; "

# Ends a value that was cut, and stands for the names that a list has no room for; the agent has them all.
MORE = "…"

# The limit of PostgreSQL and MySQL; SQLite would take more.
MAX_KEYWORD_BYTES = 255
# For a list, which is one value: below the server's 2,048, with room for the payload's own framing.
MAX_BYTES = 1900
MAX_NAME_BYTES = 200


def fit(text: str, limit: int = MAX_KEYWORD_BYTES) -> str:
    """``text`` cut to at most ``limit`` bytes of UTF-8, with an ellipsis if it is cut.

    What PostgreSQL or UTF-8 cannot hold, NUL and lone surrogates, becomes a question mark.
    """
    data = text.replace("\0", "?").encode("utf-8", "replace")
    if len(data) <= limit:
        return data.decode()
    return data[: limit - 3].decode(errors="ignore") + MORE


def fit_name(name: str) -> str:
    """``name`` cut shorter, so that a list of names has room for several."""
    return fit(name, MAX_NAME_BYTES)


def is_cut(value: str | None) -> bool:
    """Whether `value` was cut, so that only the agent has all of it."""
    return bool(value) and str(value).endswith(MORE)


def fit_list(values: Sequence[str], limit: int = MAX_BYTES) -> list[str]:
    """The newest (last) of ``values`` that together fit into ``limit`` bytes of JSON, in order."""
    kept: list[str] = []
    size = 2
    for value in reversed(values):
        value = fit_name(value)
        size += len(json.dumps(value).encode()) + 2
        if size > limit:
            break
        kept.append(value)
    return kept[::-1]


def fit_names(names: Sequence[str]) -> list[str]:
    """``names`` in order as far as they fit, and `MORE` in place of those that do not."""
    kept = fit_list([name for name in reversed(names) if name == fit_name(name)])[::-1]
    if len(kept) == len(names):
        return kept
    return [*kept[: len(fit_list(kept[::-1], MAX_BYTES - 10))], MORE]


def unregistered(error: RPCError) -> str:
    """The attribute of ours that Temporal says it does not know; empty if the error has another reason."""
    found = _UNKNOWN.search(error.message)
    return found[1] if found and found[1] in {key.name for key in REGISTRY} else ""


def problem(values: Sequence[str]) -> str:
    """The cause in `PROBLEMS` (`category=…`, `cause=…`), such as `WorkflowWorkerUnhandledFailure`."""
    said = dict(each.partition("=")[::2] for each in values)
    return (said.get("cause") or said.get("category") or "unknown").removeprefix("WorkflowTaskFailedCause")


def waiting_for_approval(request_id: str, digest: str) -> str:
    """The value of ``AgentWaitingFor`` for an open approval: enough to decide even if no worker runs."""
    return f"{APPROVAL}{request_id} {digest}"


def parse_missing(value: str | None) -> str:
    """What is missing for a stuck agent, according to ``AgentWaitingFor``; empty if nothing."""
    found = [part for part in (value or "").split(SEPARATOR) if part.startswith(MISSING)]
    return found[0].removeprefix(MISSING) if found else ""


def parse_waiting_for_approvals(value: str | None) -> list[tuple[str, str]]:
    """Request id and digest of each approval that ``AgentWaitingFor`` names in full."""
    found = re.findall(rf"(?:^|{SEPARATOR}){APPROVAL}(\S+) ([0-9a-f]{{64}})(?={SEPARATOR}|$)", value or "")
    return [(id, digest) for id, digest in found]
