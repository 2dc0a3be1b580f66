"""Judges a look at the market: each rule reports once per crossing, and rearms when the crossing is over."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from datetime import timedelta
from decimal import Decimal
from itertools import islice, pairwise
from statistics import stdev
from typing import NamedTuple

from common.agents.market import Crossing, Point, Seen, Series
from common.agents.market_rules import Rule, Then, When, percent
from common.grammar import short

# Hysteresis. A rule rearms once the price is this far back from the level, or its value below this share.
LEVEL_BAND, SHARE_BAND = Decimal("0.0025"), 0.8

History = Callable[[], Iterator[tuple[Point, float]]]


class Verdict(NamedTuple):
    """Whether a rule's condition holds, whether it is clearly over, and the words for a report."""

    holds: bool
    over: bool
    words: str


def judge(
    series: Series, point: Point, rules: Mapping[str, Rule], history: History, open_a_year: int
) -> tuple[dict[str, bool], list[Crossing]]:
    """Which rules are armed after this look, and which were crossed by it.

    Args:
        series: the state of the watch, including this point.
        point: the look.
        rules: by their conditions.
        history: gives the prices, newest first, including this look's.
        open_a_year: seconds of open market in a year.
    """
    armed, crossings = {name: series.armed[name] for name in rules if name in series.armed}, []
    for name, rule in rules.items():
        verdict = _verdict(rule, series, point, history, open_a_year)
        if verdict is None:
            continue
        known = name in armed
        if verdict.holds and armed.get(name, True):
            # The level was passed before the watch began: note it, but do not notify anybody.
            already = not known and rule.when in (When.ABOVE, When.BELOW)
            words = f"{name}{', from the first look on' if already else ''}: {verdict.words}"
            then = Then.NOTE if already else rule.then
            crossings.append(Crossing(rule=name, then=then, at=point.at, price=point.price, words=words))
            armed[name] = False
        elif verdict.over or not known:
            armed[name] = not verdict.holds
    return armed, crossings


def annual(changes: list[float], seconds: int, open_a_year: int) -> float | None:
    """The annual volatility of logarithmic changes that span this many seconds of open market."""
    if len(changes) < 2 or seconds <= 0:
        return None
    return stdev(changes) * math.sqrt(len(changes) * open_a_year / seconds)


def _verdict(rule: Rule, series: Series, point: Point, history: History, open_a_year: int) -> Verdict | None:
    """The verdict of a rule on this look; None if the rule cannot be applied to it."""
    if rule.when in (When.MISSING, When.STALE):
        return _silence(rule, series, point)
    if point.seen is not Seen.PRICE or point.price is None:
        return None
    match rule.when:
        case When.ABOVE | When.BELOW:
            assert rule.level is not None
            sign = 1 if rule.when is When.ABOVE else -1
            beyond = (point.price - rule.level) * sign
            return Verdict(beyond > 0, beyond < -rule.level * LEVEL_BAND, f"it stands at {point.price:,}")
        case When.GAP:
            return _gap(rule, series, point)
        case When.VOLATILITY:
            return _volatility(rule, history, open_a_year)
    return _change(rule, point, history)


def _silence(rule: Rule, series: Series, point: Point) -> Verdict | None:
    span = rule.span or timedelta()
    answered = point.seen in (Seen.PRICE, Seen.SAME)
    since = series.answered if rule.when is When.MISSING else series.moved
    lasts = timedelta(seconds=series.open - since)
    if rule.when is When.MISSING:
        words = f"no price for {short(lasts)} of open market: {point.why}"
        return Verdict(not answered and lasts >= span, answered, words)
    if not answered:
        return None
    of = series.last.of if series.last else None
    words = f"the same price for {short(lasts)} of open market" + (f", as of {of:%F %H:%M} UTC" if of else "")
    return Verdict(lasts >= span, lasts < span, f"{words}; the market may be closed unannounced")


def _gap(rule: Rule, series: Series, point: Point) -> Verdict | None:
    if not point.first:
        return Verdict(False, True, "")
    if not series.before or point.price is None or point.anew:
        return None
    gap = point.price / series.before - 1
    words = f"opens at {point.price:,} after {series.before:,}, {gap:+.2%}"
    # Each opening can be a crossing of its own.
    return Verdict(abs(gap) >= (rule.by or 0), abs(gap) < (rule.by or 0), words)


def _change(rule: Rule, point: Point, history: History) -> Verdict | None:
    since, then = point.at - (rule.span or timedelta()), None
    for earlier, price in history():
        if earlier.at != point.at:
            then = price
            if earlier.at <= since:
                break
    if then is None:
        return None
    now, by = float(point.price or 0), float(rule.by or 0)
    change = now / then - 1
    size = {When.RISE: change, When.FALL: -change}.get(rule.when, abs(change))
    words = f"it stands at {point.price:,} after {then:,.10g}, {change:+.2%}"
    return Verdict(size >= by, size < by * SHARE_BAND, words)


def _volatility(rule: Rule, history: History, open_a_year: int) -> Verdict | None:
    count = rule.points or 0
    newest = list(islice(history(), count + 1))
    if len(newest) <= count:
        return None
    changes = [math.log(new / old) for (_, new), (_, old) in pairwise(newest)]
    found = annual(changes, newest[0][0].open - newest[-1][0].open, open_a_year)
    if found is None:
        return None
    by = float(rule.by or 0)
    words = f"{percent(round(found, 4))} a year over the last {count} changes"
    return Verdict(found > by, found < by * SHARE_BAND, words)
