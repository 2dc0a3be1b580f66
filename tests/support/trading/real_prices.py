"""The location of real prices on a machine that is set up for tests."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest


def real_closes() -> Path:
    """Daily closes of twenty shares since 1990, shipped in a package; found without importing it."""
    return _shipped("sp500_dataset.csv.gz")


def real_index() -> Path:
    """Daily closes of the S&P 500 since 1990, shipped in the same way."""
    return _shipped("sp500_index.csv.gz")


def _shipped(name: str) -> Path:
    spec = importlib.util.find_spec("skfolio")
    if spec is None or not spec.submodule_search_locations:
        pytest.skip("no package with real prices")
    return Path(spec.submodule_search_locations[0]) / "datasets" / "data" / name
