"""The runbook is true: its commands are ones there are, and they run as they stand."""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path

import pytest

from common.client.live_workers import live_workers
from common.temporal.connect import connect
from testing.waiting import eventually
from tests.support.pages import check_command, commands, sessions
from tests.support.stack import ROOT, Stack

PAGE = (ROOT / "docs" / "runbook.md").read_text()
# `restored` is for a server that is stopped; tests/chaos/test_older_copy.py runs it there.
ELSEWHERE = "starter.py restored"


@pytest.mark.parametrize("words", sorted({tuple(each) for each in commands(PAGE)}), ids=" ".join)
def test_each_command_is_one_that_there_is(words: tuple[str, ...]) -> None:
    """With its options."""
    check_command([*words])


@pytest.mark.soak
@pytest.mark.timeout(1200)
async def test_the_commands_run_as_they_stand(tmp_path: Path) -> None:
    """On a stack that is well, one after the other: each does what it is for, and the doctor is content."""
    lines = dict.fromkeys(
        line for part in sessions(PAGE) if ELSEWHERE not in part for line in part.splitlines()
    )
    async with Stack(tmp_path / "data") as stack:
        client = await connect(stack.settings)
        await eventually(lambda: live_workers(client, stack.settings.task_queue))

        async def run(line: str) -> str:
            shell = await asyncio.create_subprocess_exec(
                *("bash", "-c", line),
                cwd=ROOT,
                env={**os.environ, "HIBERNAUT_DATA_DIR": str(stack.settings.data_dir)},
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
            )
            out, err = await asyncio.wait_for(shell.communicate(), 120)
            assert b"Traceback" not in err, err.decode()
            wrong = [each for each in out.decode().splitlines() if each.startswith("mend")]
            assert shell.returncode == 0, (line, wrong, err.decode())
            return out.decode()

        for line in lines:
            await run(line)
        said = json.loads(await run(".venv/bin/python starter.py doctor --json"))
        assert {each["name"] for each in said if each["health"] not in ("ok", "unseen")} == set()
        ring = (stack.settings.data_dir / "approval.keys").read_text()
        assert len(ring.split()) == 2, "keys rotate added one"
