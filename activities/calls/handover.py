"""Giving an activity's rest to another worker, when this one is about to end. It is no failure."""

from __future__ import annotations

from datetime import timedelta

from temporalio import activity
from temporalio.exceptions import ApplicationError, ApplicationErrorCategory

# Whatever the attempts before it waited; Temporal makes a second of less.
AT_ONCE = timedelta(seconds=1)
HANDED_OVER = "HandedOver"


def handed_over() -> ApplicationError:
    """What Temporal is told: another worker has the next attempt at once, and nothing went wrong."""
    return ApplicationError(
        "the worker ended, another goes on",
        type=HANDED_OVER,
        next_retry_delay=AT_ONCE,
        category=ApplicationErrorCategory.BENIGN,
    )


def hand_over() -> None:
    """End this attempt where the worker is about to end.

    Called where the next attempt would go on from, by activities that may take longer than a worker has.

    Raises:
        ApplicationError: type HandedOver.
    """
    if activity.is_worker_shutdown():
        raise handed_over()


def is_cut_off() -> bool:
    """Whether the activity was cancelled only because its worker has no time left."""
    details = activity.cancellation_details()
    return details is not None and details.worker_shutdown and not details.cancel_requested
