"""The pages on performance and capacity say what was kept, and their arithmetic is right."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from bench import capacity, performance
from bench.capacity import Assumed, Cost, Need, simulate
from bench.peers.effects import TEXT_BYTES, Effects, text_of
from bench.reports import keep, page

COST = Cost([50, 30], [20, 10], 9_000, 12_000, 15_000, 60, 20, 40)


def side(rate: float, wake: float) -> dict[str, object]:
    cpu = {"start": 1.0, "wake": 1.0, "all": wake}
    return {
        "start_rate": rate,
        "wake_ms": {"p50": wake, "p95": wake, "p99": wake * 2},
        "cold_wake_ms": None,
        "after_kill_ms": None,
        "bulk_rate": None,
        "worker_mb": 90.0,
        "server_mb": 200.0,
        "server_mb_before": 150.0,
        "by_steps": {"3": {"server_cpu_ms": cpu, "worker_cpu_ms": cpu, "kept_bytes": 9000}},
        "kills": None,
    }


REPORT = {
    "agents": 10,
    "steps": 3,
    "sides": {"kit": side(10, 40), "bare": side(20, 20), "langgraph": side(20, 20)},
    "ratios": {
        "kit": {
            "start_rate": 0.5,
            "wake_p50": 2.0,
            "server_cpu": 2.0,
            "worker_cpu": 1.0,
            "history_bytes": 1.2,
        },
        "langgraph": {"start_rate": 1.0, "wake_p50": 1.0, "server_cpu": 1.0, "worker_cpu": 1.0},
    },
    "left_out": {"dbos": "PostgreSQL is not installed"},
    "seed": 5,
}


@pytest.mark.parametrize(
    ("text", "script", "made"),
    [
        (performance.PAGE, performance.SCRIPT, performance.made),
        (capacity.PAGE, capacity.SCRIPT, capacity.tables),
    ],
)
def test_the_tables_of_the_page_are_what_the_kept_results_make(
    text: Path, script: str, made: Callable[[], str]
) -> None:
    """Write it with `python bench/performance.py` and `python bench/capacity.py`."""
    assert page(text.read_text(), script, made()) == text.read_text()


def test_the_best_of_a_line_is_bold_and_who_was_left_out_is_named(tmp_path: Path) -> None:
    """More is better of a rate, less of all else; what was not measured has no line."""
    keep("compare", json.dumps(REPORT), performance.check, folder=tmp_path)
    made = performance.made(tmp_path)
    assert "| agents a second until asleep | 10 | **20** |" in made
    assert "| wake-up p50, ms | 40 | **20** |" in made
    assert "woken at once" not in made
    assert "- `dbos` was left out: PostgreSQL is not installed" in made
    assert "seed 5" in made
    assert [each.split(":")[1].split(" is")[0].strip() for each in performance.misses(tmp_path)] == [
        "wake_p50",
        "server_cpu",
    ]


def test_a_run_with_many_more_asleep_has_a_table_of_its_own(tmp_path: Path) -> None:
    keep("compare", json.dumps(REPORT), performance.check, folder=tmp_path)
    assert "of each side asleep, in a run of its own" not in performance.made(tmp_path)
    many = {**REPORT, "agents": 10_000, "sides": {"kit": side(11, 60), "bare": side(22, 30)}, "seed": 7}
    keep("asleep", json.dumps(many), performance.check, folder=tmp_path)
    made = performance.made(tmp_path)
    assert "With 10,000 agents of each side asleep, in a run of its own:" in made
    assert "| agents a second until asleep | 11 | **22** |" in made
    assert "seed 7" in made


def test_what_kills_did_is_kept_apart_from_what_was_timed(tmp_path: Path) -> None:
    """They take long, and time nothing; a run without kills is refused."""
    keep("compare", json.dumps(REPORT), performance.check, folder=tmp_path)
    with pytest.raises(TypeError):
        keep("kills", json.dumps(REPORT), performance.check_kills, folder=tmp_path)
    assert "workers killed" not in performance.made(tmp_path)
    killed = {"sides": {"kit": {"kills": {"kills": 100, "steps_twice": 7}}}, "seed": 6}
    keep("kills", json.dumps(killed), performance.check_kills, folder=tmp_path)
    made = performance.made(tmp_path)
    assert "| workers killed | 100 |" in made
    assert "| steps done twice | 7 |" in made
    assert "seed 6" in made


def test_what_many_need_grows_with_them_and_is_what_one_costs_times_their_number() -> None:
    """Writes in the busiest hour, shards as a power of two, room for those that ended."""
    need = Need(1_000_000, COST, Assumed())
    assert need.peak == pytest.approx(1_000_000 / 3 / 86_400 * 6)
    assert need.transitions == pytest.approx(need.peak * 40)
    assert need.worker_cores == pytest.approx(need.peak * 0.03 / 0.6)
    assert need.asleep_bytes == 9e9
    assert need.closed_bytes == pytest.approx(1_000_000 / 3 * 30 * 12_000)
    held = need.transitions * 0.005
    assert need.shards / 2 < held / 0.1 <= need.shards
    assert Need(10_000, COST, Assumed()).shards == 4


def test_the_simulation_agrees_with_the_arithmetic_where_work_comes_evenly() -> None:
    """And batches make it wait longer, on as many cores."""
    even = Need(1_000_000, COST, replace(Assumed(), burst=1))
    found = simulate(even, random.Random(1))
    assert found.busy == pytest.approx(found.planned, rel=0.05)
    batches = simulate(Need(1_000_000, COST, Assumed()), random.Random(1))
    assert batches.wait_p99_ms > found.wait_p99_ms


async def test_an_effect_under_a_key_happens_once_and_any_other_as_often_as_it_is_asked_for(
    tmp_path: Path,
) -> None:
    """Counted outside of the process that dies."""
    file = tmp_path / "effects"
    for _ in range(2):
        effects = Effects(file)
        await effects.step("a", 1)
        await effects.act("a")
    assert Effects(file).counted() == {"step a 1": 2, "action a": 1}
    texts = {text_of(number) for number in range(200)}
    assert len(texts) == 200
    assert {len(text.encode()) for text in texts} == {TEXT_BYTES}
