"""Reads and judges a contract in a separate process.

One call does both, because passing the document on as JSON would take as long as judging it. In the worker's
own process, a thousand contracts would have to share one core.
"""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from functools import lru_cache

from activities.contracts.audit import Auditor
from activities.contracts.records import Audit
from activities.documents.structure import UnreadableError
from activities.documents.structured_reader import argument_for
from activities.fork_server import ForkServer
from activities.isolated_call import LimitsExceededError, ProcessLimits

# A process keeps the rules, because loading them takes longer than judging a short contract by them.
_SERVER = ForkServer("activities.contracts.judge_entry", calls=25)
# Three times what reading and judging the longest allowed text takes.
_LIMITS = ProcessLimits(memory=1_000_000_000, cpu_seconds=120, seconds=240.0)


def read_and_judge(
    auditor: Auditor, name: str, digest: str, data: bytes, media_type: str, heartbeat: Callable[[], None]
) -> Audit:
    """See `JudgeContract`."""
    reading = argument_for(data, media_type)
    rules = _pickled(auditor)
    argument = {"rules": len(rules), "name": name, "digest": digest, "reading": reading}
    try:
        answer = _SERVER.run("audit", rules + data, argument, _LIMITS, heartbeat)
    except LimitsExceededError as error:
        raise UnreadableError("bomb", f"reading it went over its limits: {error}") from None
    if answer.startswith(b'{"code"'):
        failed = json.loads(answer)
        raise UnreadableError(failed["code"], failed["error"])
    return Audit.model_validate_json(answer)


@lru_cache(8)
def _pickled(auditor: Auditor) -> bytes:
    return pickle.dumps(auditor)
