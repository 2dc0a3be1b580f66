"""Processes several items of a batch in one call, so that dispatch does not cost more than the work."""

from __future__ import annotations

import time
from collections.abc import Callable

from pydantic import BaseModel
from temporalio import activity
from temporalio.exceptions import ApplicationError

from activities.batch.records import Argument, ItemResults, ItemsOf
from common.agents.batch import MOMENT, ItemResult, Verdict
from common.agents.batch_verdicts import failed
from common.errors import classify_error


def process_items(items: ItemsOf[Argument], do: Callable[[Argument], BaseModel]) -> ItemResults:
    """Process items in order; those not started within `MOMENT` are handed back.

    A permanent failure quarantines the item. A retryable one ends this call; the item comes first in the next
    call, and failing there fails that call, which Temporal retries.
    """
    results: list[ItemResult] = []
    end = time.monotonic() + MOMENT.total_seconds()
    for item in items.items:
        if results and (time.monotonic() > end or activity.is_worker_shutdown()):
            break
        try:
            said = do(item.argument).model_dump(mode="json")
        except Exception as error:
            failure = classify_error(error)
            if isinstance(failure, ApplicationError) and failure.non_retryable:
                results.append(failed(item.key, failure))
            elif results:
                break
            else:
                raise
        else:
            results.append(ItemResult(key=item.key, verdict=Verdict.DONE, result=said))
    return ItemResults(results=tuple(results))
