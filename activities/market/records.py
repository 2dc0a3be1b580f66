"""What the activities of the market analyst take and give."""

from __future__ import annotations

from datetime import timedelta

from pydantic import AwareDatetime, BaseModel

from common.agents.market import Crossing, MarketFigures, Series
from common.agents.market_rules import Rule
from common.quotes import Symbol


class Look(BaseModel, frozen=True):
    """Look at the market once, at `at`, in a watch from `started` that is to end about `until`."""

    index: Symbol
    calendar: str
    every: timedelta
    rules: tuple[Rule, ...]
    started: AwareDatetime
    until: AwareDatetime
    at: AwareDatetime
    series: Series


class Looked(BaseModel, frozen=True):
    """What came of a look.

    Attributes:
        series: where the watch stands now.
        crossings: the rules that were crossed.
        notes: what else is worth a line.
        next_at: when to look again; None where the watch is over.
        open: whether the market is open.
        ends_at: when the watch ends, as the calendar has it now; None where it does not know that far.
    """

    series: Series
    crossings: tuple[Crossing, ...] = ()
    notes: tuple[str, ...] = ()
    next_at: AwareDatetime | None = None
    open: bool = False
    ends_at: AwareDatetime | None = None


class MarketReportRequest(BaseModel, frozen=True):
    """Write a report of a watch as it stands; `number` tells interim ones apart, 0 is the final one."""

    index: Symbol
    calendar: str
    every: timedelta
    rules: tuple[Rule, ...]
    started: AwareDatetime
    ended: AwareDatetime
    series: Series
    number: int = 0


class MarketReportFiles(BaseModel, frozen=True):
    """Where the report is, by kind of file, and its numbers."""

    files: dict[str, str]
    figures: MarketFigures
