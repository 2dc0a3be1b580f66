"""The rules that compare a premise's old value with its new one."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from common.digest import digest
from workflows.core.premises import Exact, Premise, SameDigest, StillTrue, Tolerance, Within, drift, unfetched


class Nothing(BaseModel):
    """No argument."""


def premise(seen: Any, tolerance: Tolerance) -> Premise:
    return Premise("fact", print, Nothing(), seen, tolerance)


@pytest.mark.parametrize(
    ("tolerance", "seen", "now", "holds"),
    [
        (Exact(), 10, 10, True),
        (Exact(), 10, 12, False),
        (Exact(), [1, 2], [1, 2], True),
        (Exact(), [1, 2], [2, 1], False),
        (Exact(), Decimal("10.0"), Decimal("10.0"), True),
        (Exact(), None, 0, False),
        (Within(absolute=Decimal(1)), 10, 11, True),
        (Within(absolute=Decimal(1)), 10, "11.01", False),
        (Within(absolute=Decimal(1)), 10, 9, True),
        (Within(relative=Decimal("0.1")), "9.231", "11.741", False),
        (Within(relative=Decimal("0.1")), 10, 11, True),
        (Within(relative=Decimal("0.1")), -10, -11, True),
        (Within(relative=Decimal("0.1")), 0, "0.01", False),
        (Within(Decimal(1), Decimal("0.01")), 100, "100.99", True),
        (Within(Decimal(1), Decimal("0.01")), 1000, "1001.5", False),
        (Within(absolute=Decimal(1)), 10, float("nan"), False),
        (Within(absolute=Decimal(1)), 10, float("inf"), False),
        (Within(absolute=Decimal(1)), 10, "ten", False),
        (Within(absolute=Decimal(1)), 10, None, False),
        (SameDigest(), digest({"a": 1}), {"a": 1}, True),
        (SameDigest(), digest({"a": 1}), {"a": 2}, False),
        (StillTrue(), True, True, True),
        (StillTrue(), True, False, False),
        (StillTrue(), True, 1, False),
        (StillTrue(), True, "true", False),
        (StillTrue(), True, None, False),
    ],
)
def test_a_premise_holds_within_its_tolerance_and_not_beyond(
    tolerance: Tolerance, seen: Any, now: Any, holds: bool
) -> None:
    """Each tolerance at and beyond its edge; what is no value never holds."""
    assert (drift(premise(seen, tolerance), now) is None) is holds


def test_a_drift_tells_the_old_value_and_the_new() -> None:
    """A person sees what has changed."""
    found = drift(premise(10, Exact()), 12)
    assert found is not None
    assert (found.seen, found.now, found.reason) == (10, 12, "10 has become 12")


def test_what_cannot_be_fetched_is_drift() -> None:
    """Not knowing is not a pass."""
    assert "cannot be fetched: gone" in unfetched(premise(10, Exact()), OSError("gone")).reason


def test_a_band_without_width_is_an_error() -> None:
    """A tolerance that says nothing would hold nothing or everything."""
    with pytest.raises(ValueError, match="width"):
        Within()


decimals = st.decimals(allow_nan=False, allow_infinity=False, min_value=-(10**9), max_value=10**9, places=4)


@given(decimals, decimals, st.decimals(min_value=0, max_value=100, places=3))
def test_a_band_is_symmetric_in_direction_and_widens_with_its_width(
    seen: Decimal, step: Decimal, width: Decimal
) -> None:
    """Up and down are alike; what a narrow band lets pass, a wider one does too."""
    up = Within(absolute=width).holds(seen, seen + step)
    assert up == Within(absolute=width).holds(seen, seen - step) == (abs(step) <= width)
    if up:
        assert Within(absolute=width + 1).holds(seen, seen + step)
