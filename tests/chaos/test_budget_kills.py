"""A budget holds, whatever is killed when, against a server that counts what it charges."""

from __future__ import annotations

import multiprocessing
import random
import signal
import sqlite3
import threading
from pathlib import Path

import pytest

from tests.support.budget_worker import HOLD, work
from tests.support.model_servers import ModelRequest, ModelServer, serving
from tests.support.seeds import seed

KILLS = 3
# What the server charges for a call, and the limit: some eight calls.
CHARGED, LIMIT = 900, 7000


def unsettled(folder: Path) -> int:
    """How many calls the ledger holds as sent, and not as settled."""
    file = folder / "model-ledger.sqlite"
    if not file.exists():
        return 0
    with sqlite3.connect(file, timeout=30) as ledger:
        try:
            return int(ledger.execute("SELECT count(*) FROM calls WHERE state = 'sent'").fetchone()[0])
        except sqlite3.OperationalError:
            return 0  # killed before it had written the table


class Run:
    """One agent's calls, with a worker that is killed up to `KILLS` times."""

    def __init__(self, folder: Path, chance: random.Random) -> None:
        self.folder = folder
        self.chance = chance
        self.environment = {
            "HIBERNAUT_DATA_DIR": str(folder),
            "HIBERNAUT_MODEL": "openai:gpt-4o-mini",
        }
        self.asked, self.answered, self.may_answer = threading.Event(), threading.Event(), threading.Event()
        self.kills = 0
        self.after_answer = 0
        self.before_answer = 0

    def answer(self, seen: ModelRequest) -> str:
        """Answer as soon as it may: a kill can come before."""
        before = self.kills
        self.asked.set()
        assert self.may_answer.wait(60)
        if self.kills > before:
            raise BrokenPipeError("whoever asked is no more")
        return "yes"

    def to_the_end(self, server: ModelServer) -> None:
        """Start the worker again and again until the budget stops it."""
        self.environment["HIBERNAUT_MODEL_ADDRESS"] = server.address
        server.on_answered = self.answered.set
        while not (self.folder / "stopped").exists():
            context = multiprocessing.get_context("forkserver")
            process = context.Process(target=work, args=(self.environment, LIMIT))
            self.asked.clear()
            self.answered.clear()
            if self.kills < KILLS:
                self._strike(process, server)
            else:
                self.may_answer.set()
                process.start()
                process.join(120)
            assert process.exitcode in (0, -signal.SIGKILL), process.exitcode

    def _strike(self, process: multiprocessing.process.BaseProcess, server: ModelServer) -> None:
        moment = self.chance.choice(["asked", "answered", "then", "any"])
        hold = self.folder / HOLD
        if moment == "answered":
            hold.touch()
        if moment == "asked":
            self.may_answer.clear()
        else:
            self.may_answer.set()
        process.start()
        if moment == "any":
            process.join(self.chance.uniform(0, 0.3))
        else:
            happens = self.asked if moment == "asked" else self.answered
            # Where nothing is left of the budget nothing is asked any more.
            while process.is_alive() and not happens.wait(0.02):
                pass
            process.join(self.chance.uniform(0, 0.02) if moment == "then" else 0)
        process.kill()
        process.join(60)
        hold.unlink(missing_ok=True)
        if process.exitcode == -signal.SIGKILL:
            self.kills += 1
            if unsettled(self.folder):
                if len(server.seen) - 1 in server.answered:
                    self.after_answer += 1
                else:
                    self.before_answer += 1


@pytest.mark.parametrize("runs", [8, pytest.param(100, marks=pytest.mark.soak)])
def test_no_kill_makes_an_agent_spend_more_than_one_call_past_its_limit(runs: int, tmp_path: Path) -> None:
    """What the server charged stays within the limit and one call, and every run is stopped."""
    chance = random.Random(seed("BUDGET_SEED"))
    multiprocessing.get_context("forkserver").set_forkserver_preload(["tests.support.budget_worker"])
    kills = after_answer = before_answer = 0
    charged: list[int] = []
    for number in range(runs):
        folder = tmp_path / str(number)
        folder.mkdir()
        run = Run(folder, chance)
        with serving("openai", run.answer) as server:
            server.usage = (CHARGED - 100, 100)
            run.to_the_end(server)
            # A provider charges for what it was sent, also where nobody read the answer.
            charged.append(len(server.seen) * CHARGED)
        kills += run.kills
        after_answer += run.after_answer
        before_answer += run.before_answer
        assert charged[-1] <= LIMIT + CHARGED, f"run {number}"
    print(
        f"{runs} runs, {kills} kills: {after_answer} between answer and settling, {before_answer} before the "
        f"answer; charged {min(charged)} to {max(charged)} of {LIMIT}"
    )
    assert after_answer > 0
    assert before_answer > 0
    assert kills > runs
    # The budget was used, and not just given up at the first kill.
    assert sum(charged) / runs > LIMIT / 2
