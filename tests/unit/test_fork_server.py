"""Functions that run in forked processes, within limits."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from activities import fork_server
from activities.fork_server import ForkServer
from activities.isolated_call import LimitsExceededError, ProcessLimits

# On a busy machine a second of CPU takes many on the clock.
LIMITS = ProcessLimits(memory=200_000_000, cpu_seconds=1, seconds=120)


@pytest.fixture
def server() -> Iterator[ForkServer]:
    """Each process serves three calls."""
    server = ForkServer("tests.support.forked", calls=3)
    yield server
    server.close()


def call(server: ForkServer, data: bytes = b"x") -> list[Any]:
    return list(json.loads(server.run("said", data, {"a": 1}, LIMITS)))


def until(met: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 120
    while not met():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


def test_a_process_serves_a_few_calls_and_knows_nothing_of_the_worker(
    server: ForkServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three calls each, without the environment."""
    monkeypatch.setenv("HIBERNAUT_SECRET", "x")
    found = [call(server, b"x" * size) for size in (1, 3_000_000, 2, 1)]
    assert [each[3] for each in found] == [1, 2, 3, 1]
    assert [len(each[0]) for each in found] == [1, 3_000_000, 2, 1]
    assert len({each[2] for each in found}) == 2
    assert found[0][1] == {"a": 1}
    assert "HIBERNAUT_SECRET" not in found[0][4]
    until(lambda: gone(found[0][2]))


def test_threads_may_call_at_once(server: ForkServer) -> None:
    """Each gets its own answer."""
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda number: call(server, str(number).encode()), range(40)))
    assert [each[0] for each in answers] == [str(number) for number in range(40)]


@pytest.mark.parametrize(
    ("function", "argument", "limits", "words"),
    [
        ("spin", None, LIMITS, "1 s of CPU"),
        ("sleep", 60, ProcessLimits(200_000_000, 5, 0.3), "over 0 s"),
        ("grow", 300_000_000, LIMITS, "memory"),
        ("fail", None, LIMITS, "crashed"),
        ("no_such", None, LIMITS, "crashed"),
    ],
)
def test_limits_end_a_call_and_the_next_one_is_served(
    server: ForkServer, function: str, argument: Any, limits: ProcessLimits, words: str
) -> None:
    """CPU, the clock, memory and errors, in a process that has served before."""
    call(server)
    with pytest.raises(LimitsExceededError, match=words) as failed:
        server.run(function, b"secret", argument, limits)
    assert "secret" not in str(failed.value)
    assert call(server)[0] == "x"


def test_a_call_does_not_fail_for_what_another_left_behind(server: ForkServer) -> None:
    """What fits alone fits after another, too; a process that has grown serves no more."""
    assert server.run("grow", b"", 20_000_000, LIMITS) == b"1"
    assert server.run("grow", b"", 190_000_000, LIMITS) == b"1"
    assert server.run("grow", b"", 190_000_000, LIMITS) == b"1"


def test_a_caller_that_gives_up_ends_its_process(server: ForkServer) -> None:
    """Whatever `heartbeat` raises; a cancelled activity leaves nothing running."""
    process = call(server)[2]

    def heartbeat() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        server.run("sleep", b"", 60, LIMITS, heartbeat)
    until(lambda: gone(process))


def test_a_server_that_was_lost_is_started_again(
    server: ForkServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next call is served, and one in flight is made again; a second loss says nothing of the call."""
    monkeypatch.setattr(fork_server, "_HEARTBEAT_SECONDS", 0.01)
    process = call(server)[2]
    assert server._process is not None
    os.killpg(server._process.pid, signal.SIGKILL)
    server._process.wait()
    until(lambda: gone(process))
    assert call(server)[3] == 1

    lost = tmp_path / "lost"

    def kill(always: bool) -> None:
        if always or not lost.exists():
            assert server._process is not None
            os.killpg(server._process.pid, signal.SIGKILL)
            lost.touch()

    assert server.run("wait", b"", str(lost), LIMITS, lambda: kill(always=False)) == b""
    assert lost.exists()
    with pytest.raises(ConnectionError):
        server.run("wait", b"", str(tmp_path / "never"), LIMITS, lambda: kill(always=True))
    assert call(server)[3] == 1
