"""Hands the rest of an activity to another worker when this one shuts down; not counted as a failure."""

from __future__ import annotations

from datetime import timedelta

from temporalio import activity
from temporalio.exceptions import ApplicationError, ApplicationErrorCategory

# Overrides the retry backoff. Temporal rounds anything shorter up to a second.
AT_ONCE = timedelta(seconds=1)
HANDED_OVER = "HandedOver"


def handed_over() -> ApplicationError:
    """The error to report: benign, and retried at once on another worker."""
    return ApplicationError(
        "the worker ended, another goes on",
        type=HANDED_OVER,
        next_retry_delay=AT_ONCE,
        category=ApplicationErrorCategory.BENIGN,
    )


def hand_over() -> None:
    """End this attempt if the worker is shutting down.

    Long activities call it at points from which the next attempt can resume.

    Raises:
        ApplicationError: type HandedOver.
    """
    if activity.is_worker_shutdown():
        raise handed_over()


def is_cut_off() -> bool:
    """Whether the activity was cancelled only because its worker's shutdown grace period ran out."""
    details = activity.cancellation_details()
    return details is not None and details.worker_shutdown and not details.cancel_requested
