"""The bench that compares the kit with others, in small."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest

from bench.peers.contenders import PEERS, SAYS
from bench.peers.figures import table
from bench.performance import check, draw
from cli.cluster.postgres import binaries
from tests.support.benches import run_bench


@pytest.mark.soak
def test_everybody_who_can_take_part_is_measured_and_killed(tmp_path: Path) -> None:
    """Every agent's result waited for, no effect of an action twice or never; temporary files are gone."""
    # Not pytest's own folder, which PostgreSQL's user cannot reach.
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o711)
        small = ("--agents", "6", "--few", "2", "--longer", "5", "--deaths", "1", "--kills", "2", "--json")
        report = run_bench("compare", *small, folder=Path(folder), patience=1800)
    assert set(report["sides"]) | set(report["left_out"]) == set(SAYS)
    assert binaries() is None or set(PEERS) <= set(report["sides"]), report["left_out"]
    for name, side in report["sides"].items():
        assert side["start_rate"] > 0
        assert 0 < side["wake_ms"]["p50"] <= side["wake_ms"]["p99"]
        assert side["kills"]["actions_twice"] == side["kills"]["actions_never"] == 0, name
        assert side["kills"]["steps_never"] == side["kills"]["unfinished"] == 0, name
        for steps in ("3", "5"):
            assert (
                min(side["by_steps"][steps][each]["all"] for each in ("server_cpu_ms", "worker_cpu_ms")) > 0
            )
    check(report)
    assert all(name in table(report) for name in SAYS)
    draw(report, tmp_path / "drawn.png")
    assert (tmp_path / "drawn.png").stat().st_size > 10_000
