"""What the process that judges a contract calls, and how it is called.

Rules take time in proportion to a contract's length, so no contract keeps a worker for long; but a thousand
of them in the worker's own process would share one core, however many there are.
"""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from functools import lru_cache

from activities.apart import LimitsExceededError, ProcessLimits
from activities.contracts.audit import Auditor
from activities.contracts.records import Audit
from activities.documents.structure import StructuredDocument, UnreadableError
from activities.fork_server import ForkServer

# A process keeps the rules: to load them takes longer than to judge a short contract by them.
_SERVER = ForkServer("activities.contracts.judging", calls=100)
# The longest text that is read takes a quarter of that.
_LIMITS = ProcessLimits(memory=1_000_000_000, cpu_seconds=120, seconds=240.0)


def judge_apart(
    auditor: Auditor, name: str, digest: str, document: StructuredDocument, beat: Callable[[], None]
) -> Audit:
    """Judge in a process of its own.

    Raises:
        UnreadableError: it went over its limits.
    """
    rules, text = _pickled(auditor), document.model_dump_json().encode("utf-8", "replace")
    try:
        said = _SERVER.run("audit", rules + text, [len(rules), name, digest], _LIMITS, beat)
    except LimitsExceededError as error:
        raise UnreadableError("bomb", f"judging it went over its limits: {error}") from None
    return Audit.model_validate_json(said)


@lru_cache(8)
def _pickled(auditor: Auditor) -> bytes:
    return pickle.dumps(auditor)


def audit(data: bytes, argument: object) -> bytes:
    """The audit as JSON; `data` is an auditor as this very program pickled it, and the document as JSON."""
    length, name, digest = json.loads(json.dumps(argument))
    document = StructuredDocument.model_validate_json(data[length:])
    return _loaded(data[:length]).audit(name, digest, document).model_dump_json().encode("utf-8", "replace")


@lru_cache(2)
def _loaded(rules: bytes) -> Auditor:
    auditor: Auditor = pickle.loads(rules)  # noqa: S301 -- ours
    return auditor
