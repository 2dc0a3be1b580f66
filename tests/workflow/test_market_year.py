"""A watch of a year by the quarter hour, in skipped time: what history and memory it takes."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from activities.market.hours import hours
from cli.dev_server import DevServer
from common.settings import Settings
from tests.support import limits
from tests.support.market.stage import MarketStage

MAX_EVENTS, MAX_CARRIED = 4096, 64 * 1024


@pytest.mark.soak
@pytest.mark.parametrize("days", [30, 365])
async def test_a_year_of_quarter_hours_stays_within_its_bounds(
    days: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At most 4,096 events a run and 64 KB carried, and every quarter hour of every session looked at."""
    settings = Settings.read({"HIBERNAUT_DATA_DIR": str(tmp_path / "year")})
    quick = limits.QUICK_TASKS | limits.QUICK_TIMERS
    async with DevServer(settings, ui_port=None, limits=quick) as server:
        monkeypatch.setenv("TEMPORAL_ADDRESS", server.address)
        async with MarketStage.open(settings) as stage:
            began = datetime.now(UTC)
            rules = (
                "change 2% in 1d alert; fall 1% in 2h; volatility 12% over 20; gap 1%; above 5000; stale 1h"
            )
            agent = await stage.watch(calendar="XNYS", rules=rules, **{"for": f"{days}d"})
            await stage.skipper.fast_forward(agent)
            result = await stage.result(agent, seconds=3 * 3600)
            runs = await stage.runs(agent)
    market = hours("XNYS", began, began + timedelta(days=days))
    ended = market.ends_at(began, began + timedelta(days=days))
    assert ended is not None
    # Every session that lies in between, by the quarter hour, its open and its close included.
    whole = [each for each in market.periods if began < each.opens and each.closes <= ended]
    wanted = sum((each.closes - each.opens) // timedelta(minutes=15) + 1 for each in whole)
    events, carried = max(run.events for run in runs), max(run.carried for run in runs)
    print(
        f"{days} days: {len(whole)} sessions, {result.figures.prices} prices, {len(runs)} runs, "
        f"at most {events} events and {carried} bytes carried, {result.crossings} crossings"
    )
    assert wanted <= result.figures.prices <= wanted + 30
    assert events <= MAX_EVENTS
    assert carried <= MAX_CARRIED
    assert len(runs) > 1
