"""The one place where errors are classified: permanent, retryable, or retryable after a time.

Activities raise ordinary exceptions; the worker's interceptor passes each through ``classify_error``.
"""

from __future__ import annotations

from datetime import timedelta

from pydantic import ValidationError
from temporalio.exceptions import ApplicationError, FailureError

from common.flaws import flaw_of


def permanent(kind: str, message: str, *details: object) -> ApplicationError:
    """An error that no retry can fix. ``kind`` becomes the failure's type, for example ``PathMissing``.

    ``details`` are for the caller to read, and become payloads.
    """
    return ApplicationError(message, *details, type=kind, non_retryable=True)


def retry_after(kind: str, message: str, delay: timedelta) -> ApplicationError:
    """An error whose source said when to retry; Temporal waits, without holding a worker slot."""
    return ApplicationError(message, type=kind, next_retry_delay=delay)


# A retry gives the same result until the argument or the machine changes. Bugs (TypeError and the like) are
# not here on purpose: they are retried, the agent shows as stuck, and a deployed fix lets it go on.
_PERMANENT = (FileNotFoundError, NotADirectoryError, IsADirectoryError, PermissionError, ValidationError)


def classify_error(error: Exception) -> Exception:
    """``error`` as Temporal should see it: whether to retry, and nothing in it but our own words.

    A library's message, or that of a cause, may quote what was read; it goes only to the worker's log. The
    message of a class of ours is used if the class says `quotes_nothing`.
    """
    if isinstance(error, FailureError):
        error.__cause__ = None
        return error
    ours = isinstance(error, OSError) or getattr(error, "quotes_nothing", False)
    said = str(error) if ours else flaw_of(error)
    kind = type(error).__name__
    if isinstance(error, _PERMANENT):
        return permanent(kind, said)
    return ApplicationError(said, type=kind).with_traceback(error.__traceback__)
