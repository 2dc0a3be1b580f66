"""The bench of the auditor's fixes, in small."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.benches import run_bench


@pytest.mark.soak
def test_the_bench_of_fixes_tells_what_was_made_and_loses_nothing(tmp_path: Path) -> None:
    """Of two packages: one with something to fix, one without."""
    report = run_bench("fixes", "--only", "requests", "sniffio", folder=tmp_path, patience=600)
    assert (report["packages"], report["packages_left_out"], report["lost"]) == (2, [], 0)
    assert report["modules"] > 20
    assert 0 < report["files"] <= report["fixes"]
