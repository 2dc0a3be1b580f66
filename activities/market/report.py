"""Writes the report of a watch: an HTML page with plots, the plots as PNG, the numbers and the prices.

The same request with the same artifacts gives the same bytes: no clock and no randomness is involved.
"""

from __future__ import annotations

import base64
import csv
import io
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from pydantic_core import to_json
from temporalio import activity

from activities.html.render import render
from activities.isolated_call import ProcessLimits, run_isolated
from activities.market.figures import compute_figures, plot_data
from activities.market.hours import hours
from activities.market.plots import draw
from activities.market.records import MarketReportFiles, MarketReportRequest
from activities.market.series import SeriesStore
from common.agent_files import AgentFiles
from common.agents.market import MarketFigures, Point
from common.agents.market_rules import When
from common.artifacts import ArtifactStore
from common.names import safe_name

FORMAT = "hibernaut-market/1"
LIMITS = ProcessLimits(memory=4_000_000_000, cpu_seconds=120, seconds=180)
# The page lists at most this many crossings and counts the rest; the JSON file has all of them.
MAX_SHOWN_CROSSINGS = 500


class MarketReports:
    """The activity that writes reports, to a folder per agent below `reports` and as files of the agent."""

    def __init__(self, artifacts: ArtifactStore, files: AgentFiles, reports: Path) -> None:
        self._store = SeriesStore(artifacts)
        self._files = files
        self._reports = reports

    @activity.defn(name="write_market_report")
    def write_market_report(self, request: MarketReportRequest) -> MarketReportFiles:
        """Write every file of the report, each one atomically."""
        market = hours(request.calendar, request.started, request.ended)
        points = self._store.points(request.series)
        found = compute_figures(points, market.zone, market.open_a_year)
        name = "report" if not request.number else f"interim-{request.number}"
        folder = (self._reports / safe_name(activity.info().workflow_id or "")).absolute()
        marks = crossings_of(points)
        plots = (
            self._plots(request, points, market.zone, market.open_a_year, marks) if found.prices > 1 else {}
        )
        files = {f"{name}.html": _page(request, found, plots, marks, market.zone).encode()}
        files |= {f"{name}-{plot}.png": data for plot, data in plots.items()}
        files |= {f"{name}.json": _document(request, found, marks), f"{name}.csv": _prices(points)}
        for file, data in files.items():
            self._files.write(folder / file, data, mode=0o644)
        kinds = {
            file.removeprefix(name).lstrip(".-").removesuffix(".png"): str(folder / file) for file in files
        }
        return MarketReportFiles(files=kinds, figures=found)

    def _plots(
        self,
        request: MarketReportRequest,
        points: Sequence[Point],
        zone: str,
        open_a_year: int,
        marks: Sequence[dict[str, Any]],
    ) -> dict[str, bytes]:
        every = int(request.every.total_seconds())
        data = plot_data(points, zone, open_a_year, every, [each for each in marks if each["price"]])
        data["levels"] = [float(rule.level) for rule in request.rules if rule.level is not None]
        data["volatility_levels"] = [
            float(rule.by or 0) for rule in request.rules if rule.when is When.VOLATILITY
        ]
        drawn = run_isolated(draw, data, LIMITS, activity.heartbeat)
        return {name: base64.b64decode(picture) for name, picture in drawn.items()}


def crossings_of(points: Sequence[Point]) -> list[dict[str, Any]]:
    """The crossings, numbered, as JSON values; one without a price gets the last price before it."""
    found: list[dict[str, Any]] = []
    price: float | None = None
    for point in points:
        price = float(point.price) if point.price is not None and not point.why else price
        found += [
            {
                "number": len(found) + place,
                "at": point.at.isoformat(),
                "hours": point.open / 3600,
                "price": price,
                "rule": rule,
            }
            for place, rule in enumerate(point.crossed, 1)
        ]
    return found


def _page(
    request: MarketReportRequest,
    found: MarketFigures,
    plots: dict[str, bytes],
    marks: Sequence[dict[str, Any]],
    zone: str,
) -> str:
    here = ZoneInfo(zone)

    def local(at: datetime | str | None) -> str:
        moment = datetime.fromisoformat(at) if isinstance(at, str) else at
        return f"{moment.astimezone(here):%a %d %b %Y, %H:%M}" if moment else ""

    return render(
        "market/page.html",
        title=f"{request.index}, {found.sessions} session{'' if found.sessions == 1 else 's'}",
        eyebrow="Hibernaut · market watch" + (" · interim report" if request.number else ""),
        lead=lead(found, len(marks)),
        request=request,
        found=found,
        plots={
            name: f"data:image/png;base64,{base64.b64encode(data).decode()}" for name, data in plots.items()
        },
        marks=marks[:MAX_SHOWN_CROSSINGS],
        more=max(0, len(marks) - MAX_SHOWN_CROSSINGS),
        zone=zone,
        local=local,
    )


def lead(found: MarketFigures, crossings: int) -> str:
    """What happened, in two sentences, or in one if there was too little to tell."""
    if found.first is None or found.last is None:
        return "There was no price to report on."
    if found.prices == 1:
        return f"One price, {found.first:,}: too little to tell more."
    told = f"From {found.first:,} to {found.last:,}, {found.total_return or 0:+.2%}; "
    told += f"at worst {-found.max_drawdown:.2%} below" if found.max_drawdown else "never below"
    times = "once" if crossings == 1 else f"{crossings:,} times"
    return f"{told} an earlier high. " + (
        f"Rules were crossed {times}." if crossings else "No rule was crossed."
    )


def _document(request: MarketReportRequest, found: MarketFigures, marks: Sequence[dict[str, Any]]) -> bytes:
    """The report as JSON."""
    document = {
        "format": FORMAT,
        "index": request.index,
        "calendar": request.calendar,
        "source": request.series.source,
        "started": request.started,
        "ended": request.ended,
        "rules": [str(rule) for rule in request.rules],
        "figures": found.model_dump(mode="json"),
        "crossings": [{key: each[key] for key in ("number", "at", "price", "rule")} for each in marks],
    }
    return to_json(document, indent=1) + b"\n"


def _prices(points: Sequence[Point]) -> bytes:
    """The looks as CSV, one row each."""
    file = io.StringIO()
    rows = csv.writer(file, lineterminator="\n")
    rows.writerow(["at", "seen", "price", "price_of", "open_seconds", "crossed", "why"])
    for point in points:
        of = point.of.isoformat() if point.of else ""
        crossed = "; ".join(point.crossed)
        rows.writerow([point.at.isoformat(), point.seen, point.price, of, point.open, crossed, point.why])
    return file.getvalue().encode()
