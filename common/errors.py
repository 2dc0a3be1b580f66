"""The one place where errors are classified: permanent, retryable, or retryable after a time.

Activities raise ordinary exceptions; the worker's interceptor passes each through ``classify_error``.
"""

from __future__ import annotations

from datetime import timedelta

from pydantic import ValidationError
from temporalio.exceptions import ApplicationError, FailureError


def permanent(kind: str, message: str) -> ApplicationError:
    """An error that no retry can fix. ``kind`` becomes the failure's type, for example ``PathMissing``."""
    return ApplicationError(message, type=kind, non_retryable=True)


def retry_after(kind: str, message: str, delay: timedelta) -> ApplicationError:
    """An error whose source said when to retry; Temporal waits, and no worker slot is held."""
    return ApplicationError(message, type=kind, next_retry_delay=delay)


# A retry gives the same result until the argument or the machine changes. Bugs (TypeError and the like) are
# not here on purpose: they are retried, the agent shows as stuck, and a deployed fix lets it go on.
_PERMANENT = (FileNotFoundError, NotADirectoryError, IsADirectoryError, PermissionError, ValidationError)


def classify_error(error: Exception) -> Exception:
    """``error`` as Temporal should see it: unchanged where it is already classified or worth a retry."""
    if isinstance(error, FailureError) or not isinstance(error, _PERMANENT):
        return error
    return permanent(type(error).__name__, str(error))
