"""A sender killed at each point of a letter: the server is the witness of how often it went out."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path

import pytest

from common.mail import Sent, SentStatus
from tests.support.mail.smtp_server import smtp_server
from tests.support.stack import ROOT


async def sender(folder: Path, port: int, point: str) -> tuple[int, str]:
    """Exit code and output of a sender that dies at the point."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.support.mail.sender", str(folder), str(port), point),
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=asyncio.subprocess.PIPE,
    )
    output, _ = await process.communicate()
    assert process.returncode is not None
    return process.returncode, output.decode()


@pytest.mark.parametrize(
    ("point", "status", "copies"),
    [
        ("before intent", SentStatus.SENT, 1),
        ("after intent", SentStatus.SENT, 1),
        ("before data", SentStatus.SENT, 1),
        ("mid data", SentStatus.UNKNOWN, 0),
        ("after answer", SentStatus.UNKNOWN, 1),
    ],
)
async def test_a_killed_sender_leaves_no_second_copy(
    tmp_path: Path, point: str, status: SentStatus, copies: int
) -> None:
    """Before the letter began it goes out later; from then on nobody knows, and it says so."""
    async with smtp_server() as server:
        code, output = await sender(tmp_path, server.port, point)
        assert (code, output) == (-signal.SIGKILL, "")
        connections = server.connections
        assert bool(connections) == (point not in ("before intent", "after intent"))
        code, output = await sender(tmp_path, server.port, "none")
        assert code == 0
        assert Sent.model_validate_json(output).status is status
        assert len(server.taken) == copies
        assert server.connections == connections + (status is SentStatus.SENT)
