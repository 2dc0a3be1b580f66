"""How a benchmark runs and ends."""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import NoReturn, TypeVar

Report = TypeVar("Report")


def measured(
    bench: Callable[[Path], Coroutine[object, object, Report]], limit: float, remark: str = ""
) -> Report:
    """The report of `bench`, run in an empty folder for at most `limit` seconds.

    Raises:
        SystemExit: 1 where it took longer, which is said with `remark`; 130 where it was interrupted.
    """
    with tempfile.TemporaryDirectory(prefix="hibernaut-bench-") as folder:
        try:
            return asyncio.run(bench(Path(folder)))
        except TimeoutError:
            print(f"not done within {limit:g} s{remark}", file=sys.stderr)
            raise SystemExit(1) from None
        except asyncio.CancelledError:
            raise SystemExit(130) from None


def end_with(main: Callable[[], int]) -> NoReturn:
    """Run `main` and end the process with its code."""
    try:
        code: object = main()
    except SystemExit as early:
        code = early.code
    sys.stdout.flush()
    sys.stderr.flush()
    # The SDK's threads can crash an interpreter that is shutting down.
    os._exit(code if isinstance(code, int) else 0)
