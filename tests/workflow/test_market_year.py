"""As many looks as a year of quarter hours has, in skipped time: what history and memory they take."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path

import pytest

from activities.market.hours import hours
from cli.dev_server import DevServer
from common.settings import Settings
from testing.waiting import eventually
from tests.support import limits
from tests.support.market.stage import MarketStage

MAX_EVENTS, MAX_CARRIED = 4096, 64 * 1024
A_MONTH, A_YEAR = 560, 6730
RULES = "change 2% in 1d alert; fall 1% in 2h; volatility 12% over 20; gap 1%; above 5000; stale 1h"


@pytest.mark.soak
@pytest.mark.parametrize("looks", [A_MONTH, A_YEAR], ids=["month", "year"])
async def test_a_year_of_quarter_hours_stays_within_its_bounds(
    looks: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At most 4,096 events a run and 64 KB carried, and no quarter hour of open market passed over."""
    settings = Settings.read({"HIBERNAUT_DATA_DIR": str(tmp_path / "year")})
    quick = limits.QUICK_TASKS | limits.QUICK_TIMERS | limits.AFRESH_AT_ONCE
    async with DevServer(settings, ui_port=None, limits=quick, scratch=True) as server:
        monkeypatch.setenv("TEMPORAL_ADDRESS", server.address)
        async with MarketStage.open(settings) as stage:
            began = datetime.now(UTC)
            agent = await stage.watch(calendar="XNYS", rules=RULES, **{"for": "1400d"})
            await eventually(lambda: len(stage.exchange.looks) >= looks, seconds=3 * 3600, every=1)
            await agent.signal("tell", "finish now")
            result = await stage.result(agent, seconds=300)
            runs, looked = await stage.runs(agent), stage.exchange.looks
    market = hours("XNYS", began, looked[-1])
    passed = [(a, b) for a, b in pairwise(looked) if market.open_between(a, b) > 16 * 60]
    events, carried = max(run.events for run in runs), max(run.carried for run in runs)
    print(
        f"{len(looked)} looks up to {looked[-1]:%F}: {result.figures.sessions} sessions, {len(runs)} runs, "
        f"at most {events} events and {carried} bytes carried, {len(passed)} jumps of the server's clock"
    )
    assert result.figures.prices == len(looked)
    assert events <= MAX_EVENTS
    assert carried <= MAX_CARRIED
    assert len(runs) > looks // 300
    # Where a history starts afresh the server's skipping may jump by days, past the timers of the new one.
    assert len(passed) < len(runs)
