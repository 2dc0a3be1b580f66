"""What entry points share of the market analyst: input, what it remembers, result."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from enum import StrEnum
from typing import Annotated, Any

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from common.agents.asking import AskingInput
from common.agents.fields import Pace, Span
from common.agents.market_rules import Rule, Rules, Then, parse_rule
from common.artifacts import ArtifactRef
from common.error_message import ErrorMessage
from common.quotes import Symbol
from common.shown import Shown

# The default rules: an index seldom does any of this on an ordinary day.
USUAL_RULES = (
    "change 2% in 1d alert",
    "gap 1%",
    "volatility 30% over 20",
    "missing 1h alert",
    "stale 1h alert",
)

# As `exchange-calendars` names them, by their ISO code or an alias such as NYSE.
CalendarName = Annotated[
    str,
    Field(pattern=r"^[A-Za-z0-9_/]{2,20}$"),
    ErrorMessage("must be a calendar's name such as XNYS or NYSE"),
]


class MarketInput(AskingInput):
    """What `start market-analyst` takes."""

    model_config = ConfigDict(validate_by_name=True, validate_by_alias=True, serialize_by_alias=True)

    index: Symbol = Field(description="what to watch, as the price source names it")
    lasts: Span = Field(
        timedelta(days=7), alias="for", description="how long to watch; it ends with a market close"
    )
    every: Pace = Field(timedelta(minutes=15), description="how often to look while the market is open")
    rules: Rules = Field(
        default_factory=lambda: [parse_rule(rule) for rule in USUAL_RULES],
        description="what to look out for, as in: above 5000; fall 3% in 1d alert; stale 1h ask",
    )
    calendar: CalendarName = Field(
        "XNYS", description="the exchange whose sessions count, such as XNYS or XTKS"
    )

    @property
    def subject(self) -> str:
        """What the agent is about, in a few words."""
        return f"Watch on {self.index}"

    @property
    def asks(self) -> bool:
        """Whether any rule asks. What people tell it later is checked against the operator's policy then."""
        return any(rule.then is Then.ASK for rule in self.rules)


class Seen(StrEnum):
    """The outcome of a look: a price, the same one as before, none, or an impossible one."""

    PRICE = "price"
    SAME = "same"
    MISSING = "missing"
    REFUSED = "refused"


def _nothing(value: Any) -> bool:
    return not value


class Point(BaseModel, frozen=True):
    """One look at the market.

    Attributes:
        at: when the market was looked at.
        open: seconds of open market since the watch began, by then.
        seen: the outcome.
        price: the price, if there is one.
        of: the time of the price, as its source gives it.
        why: why there is none.
        crossed: the conditions of the rules that were crossed here.
        first: whether it is the first price of its session.
        anew: whether it follows a jump such as a split's; earlier prices are on another scale.
    """

    at: AwareDatetime
    open: int
    seen: Seen = Seen.PRICE
    price: Decimal | None = Field(None, exclude_if=_nothing)
    of: AwareDatetime | None = Field(None, exclude_if=_nothing)
    why: str = Field("", exclude_if=_nothing)
    crossed: tuple[str, ...] = Field((), exclude_if=_nothing)
    first: bool = Field(False, exclude_if=_nothing)
    anew: bool = Field(False, exclude_if=_nothing)


class Series(BaseModel, frozen=True):
    """The state of a watch. The points are in artifacts, each naming the one before; the newest are here.

    Attributes:
        earlier: the newest artifact of points.
        recent: the points since.
        points: how many there are in all.
        looked_at: the time up to which the market was looked at.
        open: seconds of open market up to then.
        last: the newest price.
        before: the last price of the session before.
        session: the session of the newest price, by its date.
        held: a price far from the last one, which the next has to confirm.
        answered: `open` at the newest answer of the source.
        moved: `open` when the price last moved.
        failures: how many looks have failed since.
        armed: by condition, whether a crossing of a rule would be news.
        source: where the prices come from.
    """

    earlier: ArtifactRef | None = None
    recent: tuple[Point, ...] = ()
    points: int = 0
    looked_at: AwareDatetime | None = None
    open: int = 0
    last: Point | None = None
    before: Decimal | None = None
    session: str = ""
    held: Point | None = None
    answered: int = 0
    moved: int = 0
    failures: int = 0
    armed: dict[str, bool] = Field(default_factory=dict)
    source: str = ""


class Crossing(BaseModel, frozen=True):
    """What a rule has noticed; if the rule asks, this is what people are asked about."""

    rule: str
    then: Annotated[Then, Shown(internal=True)]
    at: Annotated[AwareDatetime, Shown("When")]
    price: Decimal | None
    words: Annotated[str, Shown("What happened", order=-1)]


class MarketMemory(BaseModel):
    """What the analyst carries over.

    Attributes:
        started, until: when the watch began, and when it is to end.
        ends_at: the close it ends with, as the calendar had it at the newest look.
        next_at, open: when to look again, and whether the market is open now.
        every, rules: as people have changed them; None if they are as in the input.
        series: the state of the watch.
        asking: what people are asked about.
        report, finish: what people have told it to do and is not done yet; `finish` says who or what did.
        reports: how many reports were written.
        crossings: how many there were.
        failing: whether the newest looks failed before they reached the source.
    """

    started: AwareDatetime | None = None
    until: AwareDatetime | None = None
    ends_at: AwareDatetime | None = None
    next_at: AwareDatetime | None = None
    open: bool = False
    every: timedelta | None = None
    rules: list[Rule] | None = None
    series: Series = Field(default_factory=Series)
    asking: list[Crossing] = Field(default_factory=list)
    report: bool = False
    finish: str = ""
    reports: int = 0
    crossings: int = 0
    failing: bool = False


SHARE = Shown(form="share")


class MarketFigures(BaseModel, frozen=True):
    """The numbers of a report. Shares are fractions; None if there is too little data.

    Attributes:
        sessions: sessions with at least one price.
        prices, same, missing, refused: looks by their outcome.
        jumps: jumps such as a split's; earlier prices are converted to the scale of the newest.
        total_return: last price over first, less one.
        max_drawdown: the deepest fall from a high before it, from `drawdown_from` to `drawdown_to`.
        volatility: standard deviation of the logarithmic changes, per year of open market.
        value_at_risk: the change between two looks that 95 % of all were better than.
        best, worst: the changes of the best and the worst session, each since the close before.
    """

    sessions: int = 0
    prices: int = 0
    same: int = 0
    missing: int = 0
    refused: int = 0
    jumps: int = 0
    first: Decimal | None = None
    last: Decimal | None = None
    high: Decimal | None = None
    high_at: AwareDatetime | None = None
    low: Decimal | None = None
    low_at: AwareDatetime | None = None
    total_return: Annotated[float | None, SHARE] = None
    max_drawdown: Annotated[float | None, SHARE] = None
    drawdown_from: AwareDatetime | None = None
    drawdown_to: AwareDatetime | None = None
    volatility: Annotated[float | None, SHARE] = None
    value_at_risk: Annotated[float | None, SHARE] = None
    best: Annotated[float | None, Shown("Best session", form="share")] = None
    best_on: str = ""
    worst: Annotated[float | None, Shown("Worst session", form="share")] = None
    worst_on: str = ""


class WatchOutcome(StrEnum):
    """How a watch ended: with its last close, or because people wanted it to."""

    WATCHED = "watched"
    FINISHED_EARLY = "finished_early"


class MarketResult(BaseModel, frozen=True):
    """How a watch ended, its numbers, and where its report is, by kind of file."""

    outcome: WatchOutcome
    index: Symbol
    crossings: Annotated[int, Shown("Times that a rule noticed something")]
    figures: MarketFigures
    files: Annotated[dict[str, str], Shown("The report", form="file", order=-1)]
