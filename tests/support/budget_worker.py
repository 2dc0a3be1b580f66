"""A process, to be killed, that does what a worker does for a thinking agent: call until stopped.

It is forked from a process with everything loaded, so that a hundred runs take a minute.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

# Loaded before the fork.
import openai  # noqa: F401
import pydantic_ai.direct
import pydantic_ai.models.openai
import pydantic_ai.providers.openai  # noqa: F401

from activities.llm.records import Budget, Think
from activities.llm.runner import Caller, ModelRunner
from common.artifacts import ArtifactStore
from common.settings import Settings

# While a file with this name exists, nothing is settled.
HOLD = "hold"


def work(environment: dict[str, str], tokens: int) -> None:
    """Think under the keys `call/0`, `call/1`, …, and record what succeeded, as a history would."""
    settings = Settings.read(environment)
    runner = ModelRunner(settings, ArtifactStore.of(settings))
    hold, settle = settings.data_dir / HOLD, runner.ledger.settle

    def settled(*what: Any) -> None:
        while hold.exists():
            time.sleep(0.01)
        settle(*what)

    runner.ledger.settle = settled  # type: ignore[method-assign]
    think = Think(instruction="Say yes.", budget=Budget(tokens=tokens), max_output_tokens=100)
    done = settings.data_dir / "done"
    number = len(done.read_bytes()) if done.exists() else 0
    while True:
        thought = runner.think(think, Caller(agent="agent", key=f"call/{number}"))
        if thought.stopped is not None:
            (settings.data_dir / "stopped").touch()
            return
        _remember(done)
        number += 1


def _remember(done: Path) -> None:
    with done.open("ab") as file:
        file.write(b".")
        file.flush()
        os.fsync(file.fileno())
