"""Requests from newer code that reach an older worker while both run side by side.

The older worker would drop the fields it does not know. What is left of a destructive request is not what
people approved, so the request goes back to the queue until a newer worker takes it.
"""

from __future__ import annotations

from contextvars import ContextVar
from typing import Any

from pydantic import BaseModel
from temporalio.exceptions import ApplicationError

_FROM_NEWER: ContextVar[str] = ContextVar("FROM_NEWER", default="")


def note_newer(value: Any, data: bytes) -> None:
    """Remember if `value` is a destructive request and `data`, its JSON, has fields that `value` lacks."""
    if isinstance(value, BaseModel) and "authorization" in type(value).model_fields:
        # Parsed again with unknown fields kept; `value` was parsed without them.
        everything = type(value).model_validate_json(data, extra="allow")
        _FROM_NEWER.set("" if everything == value else type(value).__name__)


def require_known() -> None:
    """Return if this worker's code knows every field of the current activity's request.

    Raises:
        ApplicationError: type `NewerRequest`, retryable: another worker may take it.
    """
    if name := _FROM_NEWER.get():
        told = (
            f"{name} has fields that this worker's code does not know; a worker with newer code has to do it"
        )
        raise ApplicationError(told, type="NewerRequest")
