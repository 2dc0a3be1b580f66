"""What the activities of the market analyst take and return."""

from __future__ import annotations

from datetime import timedelta

from pydantic import AwareDatetime, BaseModel

from common.agents.market import Crossing, MarketFigures, Series
from common.agents.market_rules import Rule
from common.quotes import Symbol


class LookRequest(BaseModel, frozen=True):
    """Asks for one look at the market, at `at`, in a watch from `started` that should end about `until`."""

    index: Symbol
    calendar: str
    every: timedelta
    rules: tuple[Rule, ...]
    started: AwareDatetime
    until: AwareDatetime
    at: AwareDatetime
    series: Series


class LookResult(BaseModel, frozen=True):
    """The result of a look.

    Attributes:
        series: the state of the watch now.
        crossings: the rules that were crossed.
        notes: other lines for the notebook.
        next_at: when to look again; None if the watch is over.
        open: whether the market is open.
        ends_at: when the watch ends, by the calendar as it is now; None if it does not reach that far.
    """

    series: Series
    crossings: tuple[Crossing, ...] = ()
    notes: tuple[str, ...] = ()
    next_at: AwareDatetime | None = None
    open: bool = False
    ends_at: AwareDatetime | None = None


class MarketReportRequest(BaseModel, frozen=True):
    """Asks for a report of a watch so far; `number` tells interim reports apart, 0 is the final one."""

    index: Symbol
    calendar: str
    every: timedelta
    rules: tuple[Rule, ...]
    started: AwareDatetime
    ended: AwareDatetime
    series: Series
    number: int = 0


class MarketReportFiles(BaseModel, frozen=True):
    """The paths of the report's files, by kind, and its numbers."""

    files: dict[str, str]
    figures: MarketFigures
