"""Requests from newer code, which an older worker may be handed while both run side by side.

It would leave out the fields that it does not know. Of a destructive request the rest is not what people
approved, so such a one goes back to the queue until a newer worker takes it.
"""

from __future__ import annotations

from contextvars import ContextVar
from typing import Any

from pydantic import BaseModel
from temporalio.exceptions import ApplicationError

_FROM_NEWER: ContextVar[str] = ContextVar("FROM_NEWER", default="")


def note_newer(value: Any, data: bytes) -> None:
    """Take note if `data`, of which `value` was read, is a destructive request with more in it than that."""
    if isinstance(value, BaseModel) and "authorization" in type(value).model_fields:
        # Unknown fields are kept here, and left out of `value`.
        everything = type(value).model_validate_json(data, extra="allow")
        _FROM_NEWER.set("" if everything == value else type(value).__name__)


def require_known() -> None:
    """Return if the code of this worker knows every field of the request that the current activity was given.

    Raises:
        ApplicationError: type `NewerRequest`; another worker may take it.
    """
    if name := _FROM_NEWER.get():
        told = (
            f"{name} has fields that this worker's code does not know; a worker with newer code has to do it"
        )
        raise ApplicationError(told, type="NewerRequest")
