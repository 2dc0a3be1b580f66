"""What is kept of an item of a batch that has ended, within bounds."""

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
    """It was done."""
    return ItemResult(key=key, verdict=Verdict.DONE, result=bounded(result))


def set_aside(key: str, reason: str) -> ItemResult:
    """It was not."""
    return ItemResult(key=key, verdict=Verdict.QUARANTINED, reason=reason)


def failed(key: str, error: BaseException) -> ItemResult:
    """It was not, in the words of what failed in the end, and with the detail of that."""
    while isinstance(error, ActivityError | ChildWorkflowError) and error.cause:
        error = error.cause
    details = error.details if isinstance(error, ApplicationError) else ()
    detail = bounded(to_jsonable_python(details[0])) if details else None
    return set_aside(key, _reason_of(error)).model_copy(update={"result": detail})


def bounded(result: Any) -> Any:
    """A result as it is kept, or how large it was."""
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
