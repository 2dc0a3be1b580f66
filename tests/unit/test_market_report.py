"""The report of a watch: its numbers recomputed by other code over real prices, its plots, its page."""

from __future__ import annotations

import base64
import csv
import gzip
import io
import json
import re
import struct
from collections.abc import Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from temporalio.testing import ActivityEnvironment

from activities.market.figures import compute_figures
from activities.market.hours import hours
from activities.market.records import MarketReportFiles, MarketReportRequest
from activities.market.report import MarketReports
from common.agent_files import AgentFiles
from common.agents.market import MarketFigures, Point, Seen
from common.object_store import FolderStore
from tests.support.market.drive import WatchDriver, prices, quote, utc
from tests.support.trading.real_prices import real_closes, real_index

NAME = re.compile(r'src="data:image/png;base64,([A-Za-z0-9+/=]+)"')


def real_series(symbol: str, first: str, last: str) -> pd.Series:
    """Daily closes as a package ships them, read by pandas."""
    with gzip.open(real_index() if symbol == "SP500" else real_closes(), "rt") as file:
        table = pd.read_csv(file, index_col="Date", parse_dates=True)
    return table[symbol].loc[first:last]


async def watched(tmp_path: Path, closes: pd.Series, rules: Sequence[str] = ()) -> WatchDriver:
    """The analyst over real closes: one look a day, at the close of each session of New York."""
    told = {f"{day:%Y-%m-%d}": Decimal(str(price)) for day, price in closes.items()}

    def says(now: datetime) -> object:
        return quote(told[f"{now:%Y-%m-%d}"], now.replace(hour=12))

    start = utc(f"{closes.index[0]:%Y-%m-%d}T12:00")
    lasts = utc(f"{closes.index[-1]:%Y-%m-%d}T23:00") - start
    watching = WatchDriver(tmp_path, says, start=start, lasts=lasts, rules=rules, every=timedelta(days=1))
    await watching.to_the_end()
    return watching


def report(watching: WatchDriver, folder: Path) -> MarketReportFiles:
    request = watching.request
    ended = watching.looks[-1][0]
    return ActivityEnvironment().run(
        MarketReports(
            watching.artifacts, AgentFiles(FolderStore(folder / "objects")), folder
        ).write_market_report,
        MarketReportRequest(
            index=request.index,
            calendar=request.calendar,
            every=request.every,
            rules=request.rules,
            started=request.started,
            ended=ended,
            series=watching.series,
        ),
    )


@pytest.mark.parametrize(
    ("symbol", "first", "last"),
    [
        ("SP500", "2008-09-02", "2009-03-31"),
        ("BAC", "2008-11-03", "2009-02-27"),
        ("KO", "2019-07-01", "2020-03-31"),
        ("JPM", "2012-11-01", "2013-01-31"),
    ],
)
async def test_the_numbers_are_those_that_pandas_finds_in_the_same_real_prices(
    tmp_path: Path, symbol: str, first: str, last: str
) -> None:
    """Two ways to each number: crashes, a quiet winter, and the storm that closed New York for two days."""
    closes = real_series(symbol, first, last)
    watching = await watched(tmp_path, closes)
    market = hours("XNYS", watching.request.started, watching.looks[-1][0])
    found = compute_figures(watching.points, market.zone, market.open_a_year)
    assert (found.sessions, found.prices) == (len(closes), len(closes))
    assert (found.first, found.last) == (Decimal(str(closes.iloc[0])), Decimal(str(closes.iloc[-1])))
    assert found.total_return == pytest.approx(float(np.prod(1 + closes.pct_change().dropna())) - 1)
    fall = closes / closes.cummax() - 1
    assert found.max_drawdown == pytest.approx(fall.min())
    trough = fall.idxmin()
    assert found.drawdown_to is not None
    assert found.drawdown_from is not None
    assert f"{found.drawdown_to:%F}" == f"{trough:%F}"
    assert f"{found.drawdown_from:%F}" == f"{closes.loc[:trough].idxmax():%F}"
    assert f"{found.high_at:%F} {found.low_at:%F}" == f"{closes.idxmax():%F} {closes.idxmin():%F}"
    # By sessions of six and a half hours, half days but for their own length: a year has about 250.
    a_year = np.log(closes).diff().dropna().std() * np.sqrt(252)
    assert found.volatility == pytest.approx(a_year, rel=0.03)
    daily = closes.pct_change().dropna()
    assert found.value_at_risk == pytest.approx(float(np.percentile(daily, 5)))
    assert (found.best, found.best_on) == (pytest.approx(daily.max()), f"{daily.idxmax():%F}")
    assert (found.worst, found.worst_on) == (pytest.approx(daily.min()), f"{daily.idxmin():%F}")


async def test_volatility_is_the_standard_deviation_scaled_by_open_time(tmp_path: Path) -> None:
    """Within one session by the quarter hour: the same by numpy."""
    chance = np.random.default_rng(3)

    def says(now: datetime) -> object:
        return quote(round(5000 + 10 * float(chance.normal()), 2), now)

    start = utc("2026-11-25T14:00")
    watching = WatchDriver(tmp_path, says, start=start, lasts=timedelta(hours=8))
    await watching.to_the_end()
    market = hours("XNYS", start, start)
    found = compute_figures(watching.points, market.zone, market.open_a_year)
    values = np.array([float(point.price or 0) for point in watching.points])
    year_of_quarters = market.open_a_year / 900
    expected = np.std(np.diff(np.log(values)), ddof=1) * np.sqrt(year_of_quarters)
    assert found.volatility == pytest.approx(float(expected))


async def test_a_report_is_a_page_with_plots_and_files_beside(tmp_path: Path) -> None:
    """Three plots in the page and as PNG, the same bytes again for the same request, and nothing to load."""
    table = {
        "2026-11-25T14:30": 5000,
        "2026-11-25T16:00": 5060,
        "2026-11-27T14:30": 4900,
        "2026-11-27T17:00": 4950,
    }
    rules = ("above 5050 alert", "gap 1%", "stale 1h alert")
    watching = WatchDriver(
        tmp_path, prices(table), start=utc("2026-11-25T14:00"), rules=rules, lasts=timedelta(days=4)
    )
    await watching.to_the_end()
    found = report(watching, tmp_path / "reports")
    assert sorted(found.files) == ["csv", "drawdown", "html", "json", "price", "volatility"]
    bytes_of = {kind: Path(file).read_bytes() for kind, file in found.files.items()}
    page = bytes_of["html"].decode()
    shown = [base64.b64decode(picture) for picture in NAME.findall(page)]
    assert shown == [bytes_of["price"], bytes_of["drawdown"], bytes_of["volatility"]]
    for picture in shown:
        assert picture[:8] == b"\x89PNG\r\n\x1a\n"
        assert struct.unpack(">II", picture[16:24]) == (1600, 592)
    assert "img-src data:" in page
    assert not re.search(r'(src|href)="(?!data:)', page)
    assert "From 5,000 to 4,950, -1.00%; at worst 3.16% below an earlier high." in page
    document = json.loads(bytes_of["json"])
    assert [each["rule"] for each in document["crossings"]].count("above 5050") == 1
    assert document["figures"]["max_drawdown"] == pytest.approx(4900 / 5060 - 1)
    rows = list(csv.DictReader(io.StringIO(bytes_of["csv"].decode())))
    assert len(rows) == len(watching.points)
    again = report(watching, tmp_path / "again")
    assert {kind: Path(file).read_bytes() for kind, file in again.files.items()} == bytes_of


async def test_one_price_is_told_and_nothing_is_made_of_it(tmp_path: Path) -> None:
    """A report that is asked for right after the start: no return of zero, no empty plots."""
    watching = WatchDriver(tmp_path, prices({"2026-11-25T14:30": 5000}), start=utc("2026-11-25T14:30"))
    await watching.look()
    found = report(watching, tmp_path / "reports")
    assert sorted(found.files) == ["csv", "html", "json"]
    assert "One price, 5,000: too little to tell more." in Path(found.files["html"]).read_text()
    assert (found.figures.first, found.figures.total_return) == (Decimal(5000), None)


async def test_a_watch_without_a_price_has_a_report_that_says_so(tmp_path: Path) -> None:
    """No plots, no numbers, no crash."""
    watching = WatchDriver(tmp_path, prices({}), start=utc("2026-11-25T14:00"))
    watching.looks = [(utc("2026-11-25T14:00"), None)]  # type: ignore[list-item]
    found = report(watching, tmp_path / "reports")
    assert sorted(found.files) == ["csv", "html", "json"]
    assert "There was no price to report on." in Path(found.files["html"]).read_text()
    assert found.figures == MarketFigures()


def test_a_split_is_on_one_scale_in_the_numbers() -> None:
    """Half the price at once, and then two percent more: the return is two percent."""
    at = utc("2026-11-25T15:00")
    said = [(100, False), (101, False), (Decimal("50.5"), True), (51, False)]
    points = [
        Point(at=at + timedelta(minutes=15 * n), open=900 * n, price=Decimal(price), anew=anew, first=not n)
        for n, (price, anew) in enumerate(said)
    ]
    points.insert(2, Point(at=at, open=1, seen=Seen.REFUSED, price=Decimal("50.5"), why="a slip?"))
    found = compute_figures(points, "UTC", 10**6)
    assert found.total_return == pytest.approx(0.02)
    assert found.max_drawdown == 0
    assert (found.jumps, found.refused, found.first, found.last) == (1, 1, Decimal(50), Decimal(51))
