"""The page on reliability says what the benches found, and whether that is what was wanted."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bench.reliability import PAGE, SCRIPT, check_of, failures, table
from bench.reports import END, begin, keep, page

WAKE = {
    "kills": 4,
    "asleep": 2,
    "taken_over_ms": {"2": {"p99": 1200.0}},
    "restarted_ms": {"2": {"p99": 2500.0}},
}


def test_the_table_of_the_page_is_what_the_kept_results_make() -> None:
    """Write it with `python bench/reliability.py`."""
    assert page(PAGE.read_text(), SCRIPT, table()) == PAGE.read_text()


def test_a_run_is_kept_with_its_day_and_machine_and_shown(tmp_path: Path) -> None:
    """Other benches are left out until they ran."""
    kept = json.loads(keep("wake", json.dumps(WAKE), check_of("wake"), folder=tmp_path).read_text())
    assert kept["report"] == WAKE
    assert "cores" in kept["machine"]
    assert "Python" in kept["machine"]
    made = table(tmp_path)
    assert "| first wake, another worker takes over, p99, s | under 2 s | 1.20 |" in made
    assert "first wake, none stands by and one is started, p99, s |  | 2.50 |" in made
    assert "outage" not in made
    assert failures(tmp_path) == []


def test_what_was_not_reached_is_said(tmp_path: Path) -> None:
    """In the table, and by the script."""
    keep(
        "wake",
        json.dumps(WAKE | {"taken_over_ms": {"2": {"p99": 2000.0}}}),
        check_of("wake"),
        folder=tmp_path,
    )
    assert "2.00 (**not reached**)" in table(tmp_path)
    assert failures(tmp_path) == [
        "wake: first wake, another worker takes over, p99, s: 2.0, wanted under 2 s"
    ]


def test_a_report_that_lacks_a_figure_is_not_kept(tmp_path: Path) -> None:
    """It is another bench's."""
    with pytest.raises(KeyError):
        keep("outage", json.dumps(WAKE), check_of("outage"), folder=tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_the_rest_of_the_page_stays() -> None:
    """Only what stands between the marks is made."""
    mark = begin(SCRIPT)
    assert page(f"# A\n{mark}\nold\n{END}\nB\n", SCRIPT, "new") == f"# A\n{mark}\n\nnew\n\n{END}\nB\n"
