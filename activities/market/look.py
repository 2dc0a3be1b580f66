"""One look at the market: checks the calendar, fetches and validates the price, and applies the rules."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta
from typing import NamedTuple

from temporalio import activity
from temporalio.exceptions import ApplicationError

from activities.market.hours import Hours, Period, hours
from activities.market.judge import judge
from activities.market.records import LookRequest, LookResult
from activities.market.series import SeriesStore, scaled
from activities.quotes.quotes import Fault, QuoteFeed, check_age
from common.agents.market import Point, Seen, Series
from common.agents.market_rules import by_condition
from common.artifacts import ArtifactStore
from common.quotes import Quote

# While the market is closed, its calendar is checked at least this often.
MAX_SLEEP = timedelta(days=1)
FIRST_RETRY = timedelta(minutes=1)
# A price that jumps by more than this factor, up or down, is a split or an error of the source.
MAX_JUMP = 1.45
# How close the next price must be, as a share, to confirm a jump.
SAME_SCALE = 0.2
SECONDS, MAX_WHY, CLOSING_TRIES = 30.0, 200, 5


# What an error of the source means for the series; any other error counts as no answer.
_WITHOUT_PRICE = {str(Fault.BAD_PRICE): Seen.REFUSED, str(Fault.STALE): Seen.SAME}


class Due(NamedTuple):
    """What to look at: the market as of `at`, within `period`."""

    at: datetime
    period: Period


class MarketWatch:
    """The activity that looks at the market."""

    def __init__(self, feed: QuoteFeed, artifacts: ArtifactStore) -> None:
        self._feed = feed
        self._store = SeriesStore(artifacts)

    @activity.defn(name="look_at_market")
    async def look(self, request: LookRequest) -> LookResult:
        """Fetch, store and judge one price if the market is open, and say when to look again.

        If the source fails, the look counts as failed and is repeated soon; the agent goes on.

        Raises:
            ApplicationError: type `UnknownCalendar`; or, at the very first look, a `Fault` that somebody has
                to fix, such as an index that the source does not know.
        """
        market = await asyncio.to_thread(
            hours, request.calendar, request.started, max(request.until, request.at)
        )
        ends_at = market.ends_at(request.started, request.until)
        due = _due(market, request, ends_at)
        if due is None:
            series = request.series.model_copy(update={"failures": 0})
            return _looked(request, market, ends_at, series)
        series, point, wait = await self._seen(request, market, due)
        series, looked = await asyncio.to_thread(self._judged, request, market, due, series, point)
        return _looked(request, market, ends_at, series, wait).model_copy(update=looked)

    async def _seen(
        self, request: LookRequest, market: Hours, due: Due
    ) -> tuple[Series, Point, timedelta | None]:
        """The state of the watch after this look, its point, and the wait that the source asked for."""
        series = request.series
        opened = series.open + market.open_between(series.looked_at or request.started, due.at)
        wait = None
        try:
            async with asyncio.timeout(SECONDS):
                # Use Temporal's clock. A price from the future would make all later ones look out of order.
                quote = check_age(await self._feed.quote(request.index), request.at, None)
        except TimeoutError:
            point = Point(at=due.at, open=opened, seen=Seen.MISSING, why=f"no answer within {SECONDS:.0f} s")
        except ApplicationError as error:
            if error.non_retryable and not series.points:
                raise
            wait = error.next_retry_delay
            seen = _WITHOUT_PRICE.get(error.type or "", Seen.MISSING)
            point = Point(at=due.at, open=opened, seen=seen, why=error.message[:MAX_WHY])
        else:
            series, point = classify_quote(series, quote, due, opened)
        failed = point.seen in (Seen.MISSING, Seen.REFUSED) and point is not series.held
        failures = series.failures + 1 if failed else 0
        # Retry a close a few times before giving up.
        again = failed and due.at == due.period.closes and failures < CLOSING_TRIES
        update = {
            "failures": failures,
            "looked_at": series.looked_at if again else due.at,
            "open": series.open if again else opened,
            "answered": series.answered if point.seen in (Seen.MISSING, Seen.REFUSED) else opened,
        }
        return series.model_copy(update=update), point, wait

    def _judged(
        self, request: LookRequest, market: Hours, due: Due, series: Series, point: Point
    ) -> tuple[Series, dict[str, object]]:
        before = request.series
        with_point = series.model_copy(update={"recent": (*series.recent, point)})
        rules = by_condition(request.rules)
        # If this look is to be repeated, `series.open` lags behind; count silence up to this point anyway.
        judged_as = with_point.model_copy(update={"open": point.open})
        armed, crossings = judge(
            judged_as, point, rules, lambda: scaled(self._store.newest_first(with_point)), market.open_a_year
        )
        point = point.model_copy(update={"crossed": tuple(each.rule for each in crossings)})
        series = self._store.added(series, point).model_copy(update={"armed": armed})
        return series, {"crossings": tuple(crossings), "notes": tuple(_notes(before, series, point, due))}


def classify_quote(series: Series, quote: Quote, due: Due, opened: int) -> tuple[Series, Point]:
    """Classify a quote as a new, known or refused price; return the updated series and the point."""
    last = series.last
    point = Point(at=due.at, open=opened, price=quote.price, of=quote.at)
    series = series.model_copy(update={"source": quote.source})
    if last is not None and last.price is not None and last.of is not None:
        if quote.at < last.of:
            why = f"a price of {quote.at:%F %H:%M} UTC after one of {last.of:%F %H:%M}: out of order"
            return series, point.model_copy(update={"seen": Seen.REFUSED, "price": None, "why": why})
        if quote.at == last.of and quote.price == last.price:
            return series, point.model_copy(update={"seen": Seen.SAME})
        if _is_jump(float(quote.price), float(last.price)):
            if not _confirms(series.held, quote):
                why = (
                    f"{quote.price:,} after {last.price:,}: taken for a slip until the next look bears it out"
                )
                point = point.model_copy(update={"seen": Seen.REFUSED, "why": why})
                return series.model_copy(update={"held": point}), point
            point = point.model_copy(update={"anew": True})
    session = due.period.session.isoformat()
    update: dict[str, object] = {"held": None}
    if session != series.session:
        point = point.model_copy(update={"first": True})
        update |= {"session": session, "before": last.price if last else None}
    if last is None or last.price != quote.price:
        update["moved"] = opened
    return series.model_copy(update=update | {"last": point}), point


def _confirms(held: Point | None, quote: Quote) -> bool:
    """Whether a quote confirms the price that was held back: it is newer, and on the same scale."""
    if held is None or held.price is None or held.of is None:
        return False
    return quote.at > held.of and abs(float(quote.price / held.price) - 1) <= SAME_SCALE


def _is_jump(price: float, last: float) -> bool:
    return not 1 / MAX_JUMP < price / last < MAX_JUMP


def _notes(before: Series, series: Series, point: Point, due: Due) -> list[str]:
    notes = []
    if point.seen is Seen.PRICE and not before.points:
        notes.append(f"stands at {point.price:,}, says {series.source}")
    elif point.first:
        notes.append(f"opens at {point.price:,}")
    if point.seen is Seen.REFUSED:
        notes.append(f"refused: {point.why}")
    elif point.seen is Seen.MISSING and not before.failures:
        notes.append(f"no price: {point.why}")
    elif point.anew:
        notes.append(
            f"{point.price:,} is borne out: a jump as of a split; earlier prices are put on its scale"
        )
    elif before.held is not None and series.held is None:
        notes.append("the price that was held back was a slip: it is left out")
    if due.period.is_last and due.at == due.period.closes and series.last and not series.failures:
        notes.append(f"closes at {series.last.price:,}")
    if before.failures and not series.failures:
        notes.append(f"a price again, after {before.failures} looks without")
    return notes


def _due(market: Hours, request: LookRequest, ends_at: datetime | None) -> Due | None:
    """What to look at now: the open market, or a close that was not looked at yet; None if neither."""
    at, looked_at = request.at, request.series.looked_at or request.started
    period = market.at(at)
    due = Due(at, period) if period else None
    if due is None and (closed := market.before(at)) and closed.closes > looked_at:
        due = Due(closed.closes, closed)
    return None if due is None or (ends_at is not None and due.at > ends_at) else due


def _looked(
    request: LookRequest,
    market: Hours,
    ends_at: datetime | None,
    series: Series,
    wait: timedelta | None = None,
) -> LookResult:
    """The result of a look, with the time of the next one unless the watch is over."""
    at, period = request.at, market.at(request.at)
    end = request.until if ends_at is None else ends_at
    retry = None
    if series.failures:
        pause = min(request.every, FIRST_RETRY * 2 ** min(series.failures - 1, 10))
        retry = at + min(max(pause, wait or pause), MAX_SLEEP)
    looked = LookResult(series=series, open=period is not None, ends_at=ends_at)
    if at >= end and retry is None:
        return looked
    if period is not None:
        steps = (at - period.opens) // request.every + 1
        next_at = min(period.opens + steps * request.every, period.closes, end if end > at else period.closes)
    else:
        opening = market.after(at)
        next_at = min([at + MAX_SLEEP, *([opening.opens] if opening else [])])
    if retry is not None:
        next_at = retry if wait else min(retry, next_at)
    return looked.model_copy(update={"next_at": next_at})
