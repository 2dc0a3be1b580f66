"""What the kit costs: `bench/compare.py` with only the kit and the bare SDK; same options."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from bench import compare
from bench.harness import end_with

ALONE = ("--sides", "kit", "bare", "--longer", "--deaths", "0")


if __name__ == "__main__":
    end_with(lambda: compare.main([*ALONE, *sys.argv[1:]]))
