"""Computes the numbers of a watch from its points; `docs/market.md` defines each."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

from activities.market.judge import annual
from activities.market.series import scaled
from common.agents.market import MarketFigures, Point, Seen

# With fewer changes, the worst twentieth of them means nothing.
MIN_FOR_RISK, RISK = 20, 0.05
# The window of the plotted volatility, in changes.
WINDOW = 20


def compute_figures(points: Sequence[Point], zone: str, open_a_year: int) -> MarketFigures:
    """The numbers of all points, oldest first."""
    counts = Counter(point.seen for point in points)
    counted = {
        "prices": counts[Seen.PRICE],
        "same": counts[Seen.SAME],
        "missing": counts[Seen.MISSING],
        "refused": counts[Seen.REFUSED],
        "jumps": sum(point.anew for point in points),
    }
    prices = prices_of(points)
    if not prices:
        return MarketFigures(**counted)
    if len(prices) == 1:
        return MarketFigures(**counted, sessions=1, first=_exact(prices[0]), last=_exact(prices[0]))
    values = [value for _, value in prices]
    high, low = max(prices, key=lambda each: each[1]), min(prices, key=lambda each: each[1])
    changes = [new / old - 1 for old, new in itertools.pairwise(values)]
    falls, tops = drawdowns(prices)
    deepest = min(range(len(falls)), key=falls.__getitem__)
    fell = falls[deepest] < 0
    seconds = prices[-1][0].open - prices[0][0].open
    sessions = _sessions(prices, ZoneInfo(zone))
    best, worst = max(sessions, key=lambda each: each[1]), min(sessions, key=lambda each: each[1])
    return MarketFigures(
        **counted,
        sessions=len(sessions),
        first=_exact(prices[0]),
        last=_exact(prices[-1]),
        high=_exact(high),
        high_at=high[0].at,
        low=_exact(low),
        low_at=low[0].at,
        total_return=values[-1] / values[0] - 1,
        max_drawdown=falls[deepest],
        drawdown_from=tops[deepest] if fell else None,
        drawdown_to=prices[deepest][0].at if fell else None,
        volatility=annual([math.log1p(each) for each in changes], seconds, open_a_year),
        value_at_risk=_quantile(changes, RISK) if len(changes) >= MIN_FOR_RISK else None,
        best=best[1],
        best_on=best[0],
        worst=worst[1],
        worst_on=worst[0],
    )


def prices_of(points: Sequence[Point]) -> list[tuple[Point, float]]:
    """The points with a price, oldest first, each with its price on the scale of the newest."""
    return list(scaled(reversed(points)))[::-1]


def drawdowns(prices: Sequence[tuple[Point, float]]) -> tuple[list[float], list[datetime]]:
    """For each price, its drawdown from the highest so far, as a share; and the time of that high."""
    falls, tops, top, top_at = [], [], 0.0, prices[0][0].at
    for point, value in prices:
        if value > top:
            top, top_at = value, point.at
        falls.append(value / top - 1)
        tops.append(top_at)
    return falls, tops


def rolling(prices: Sequence[tuple[Point, float]], open_a_year: int) -> list[float | None]:
    """For each price, the annual volatility of the last `WINDOW` changes; None until there are enough."""
    logs = [math.log(value) for _, value in prices]
    changes = [new - old for old, new in itertools.pairwise(logs)]
    found: list[float | None] = []
    for place, (point, _) in enumerate(prices):
        start = place - WINDOW
        seconds = point.open - prices[max(start, 0)][0].open
        found.append(None if start < 0 else annual(changes[start:place], seconds, open_a_year))
    return found


def plot_data(
    points: Sequence[Point], zone: str, open_a_year: int, every: int, marks: Sequence[dict[str, Any]]
) -> dict[str, Any]:
    """The data of the plots as JSON values, over hours of open market."""
    prices, here = prices_of(points), ZoneInfo(zone)
    falls, _ = drawdowns(prices) if prices else ([], [])
    return {
        "hours": [point.open / 3600 for point, _ in prices],
        "prices": [value for _, value in prices],
        "drawdowns": falls,
        "volatility": rolling(prices, open_a_year),
        "times": [point.at.astimezone(here).replace(tzinfo=None).isoformat() for point, _ in prices],
        "sessions": [place for place, (point, _) in enumerate(prices) if point.first or not place],
        "gap": 2.5 * every / 3600,
        "window": WINDOW,
        "marks": list(marks),
    }


def _sessions(prices: Sequence[tuple[Point, float]], zone: ZoneInfo) -> list[tuple[str, float]]:
    """Each session's date and change since the previous close; for the first, since its first price."""
    found: list[tuple[str, float]] = []
    before, start = prices[0][1], 0
    for place in range(1, len(prices) + 1):
        if place == len(prices) or prices[place][0].first:
            close = prices[place - 1][1]
            found.append((f"{prices[start][0].at.astimezone(zone):%F}", close / before - 1))
            before, start = close, place
    return found


def _quantile(values: Sequence[float], share: float) -> float:
    """The quantile at `share`, linearly interpolated."""
    ordered = sorted(values)
    place = share * (len(ordered) - 1)
    low = math.floor(place)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (place - low)


def _exact(priced: tuple[Point, float]) -> Decimal:
    """The price as the source gave it, or rounded to six digits if it was rescaled."""
    point, value = priced
    if point.price is not None and float(point.price) == value:
        return point.price
    return Decimal(f"{value:.6g}")
