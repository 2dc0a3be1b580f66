"""Verdicts on the items of a batch, bounded in size."""

from __future__ import annotations

from typing import Any

from pydantic_core import to_jsonable_python
from temporalio.exceptions import (
    ActivityError,
    ApplicationError,
    ChildWorkflowError,
    WorkflowAlreadyStartedError,
    is_cancelled_exception,
)

from common.agents.batch import MAX_REASON, MAX_RESULT_BYTES, ItemResult, Verdict
from common.digest import canonical


def done(key: str, result: Any) -> ItemResult:
    """The verdict on an item that was done."""
    return ItemResult(key=key, verdict=Verdict.DONE, result=bounded(result))


def set_aside(key: str, reason: str) -> ItemResult:
    """The verdict on an item that was set aside."""
    return ItemResult(key=key, verdict=Verdict.QUARANTINED, reason=reason)


def failed(key: str, error: BaseException) -> ItemResult:
    """The verdict on an item that failed, with the message and the first detail of the root cause."""
    while isinstance(error, ActivityError | ChildWorkflowError) and error.cause:
        error = error.cause
    details = error.details if isinstance(error, ApplicationError) else ()
    detail = bounded(to_jsonable_python(details[0])) if details else None
    return set_aside(key, _reason_of(error)).model_copy(update={"result": detail})


def bounded(result: Any) -> Any:
    """The result, or how large it was if it is too large to keep."""
    size = len(canonical(result))
    if size <= MAX_RESULT_BYTES:
        return result
    return {"left out": f"{size} bytes, over the {MAX_RESULT_BYTES} of a result: hand over an artifact"}


def _reason_of(error: BaseException) -> str:
    if isinstance(error, WorkflowAlreadyStartedError):
        return "there is already an agent of its id"
    if is_cancelled_exception(error):
        return "cancelled"
    kind = error.type if isinstance(error, ApplicationError) and error.type else type(error).__name__
    words = error.message if isinstance(error, ApplicationError) else ""
    return f"{kind}: {words}"[:MAX_REASON].rstrip(": ")
