"""The one place where errors are sorted: permanent, retryable, retryable after a time.

Activities raise ordinary exceptions; the worker's interceptor passes each through ``classify_error``.
"""

from __future__ import annotations

from datetime import timedelta

from pydantic import ValidationError
from temporalio.exceptions import ApplicationError, FailureError


def permanent(kind: str, message: str) -> ApplicationError:
    """An error that no retry mends. ``kind`` becomes the failure's type, for example ``PathMissing``."""
    return ApplicationError(message, type=kind, non_retryable=True)


def retry_after(kind: str, message: str, delay: timedelta) -> ApplicationError:
    """An error whose source said when to come back; the wait lives in Temporal and holds no slot."""
    return ApplicationError(message, type=kind, next_retry_delay=delay)


# Trying again gives the same answer: the argument or the machine has to change first. A bug (TypeError and
# the like) is not here on purpose: it is retried, the agent shows as stuck, and a deployed fix lets it go on.
_PERMANENT = (FileNotFoundError, NotADirectoryError, IsADirectoryError, PermissionError, ValidationError)


def classify_error(error: Exception) -> Exception:
    """``error`` as Temporal should see it: unchanged where it is already sorted or worth a retry."""
    if isinstance(error, FailureError) or not isinstance(error, _PERMANENT):
        return error
    return permanent(type(error).__name__, str(error))
