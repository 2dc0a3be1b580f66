"""Kills at random moments, round after round: `make soak` (`SOAK_ROUNDS=50` for more)."""

from __future__ import annotations

import asyncio
import os
import random
from collections import Counter
from pathlib import Path

import pytest

from common.agents.auditor import AuditInput
from common.approval.types import Verdict
from common.client.view import AgentView
from testing.waiting import eventually
from tests.support.auditor.code_base import assert_every_fix_was_written_once, code_base, ended, seen
from tests.support.seeds import seed
from tests.support.stack import Stack

FILES = 1600
ROUNDS = int(os.environ.get("SOAK_ROUNDS", "5"))
SEED = seed("SOAK_SEED")


@pytest.mark.soak
@pytest.mark.parametrize("round", range(ROUNDS))
async def test_an_audit_killed_at_random_moments_fixes_every_file_once(round: int, tmp_path: Path) -> None:
    """Scan, plan, approval, apply or report: wherever the kills hit, each file is fixed, once."""
    chance = random.Random(SEED + round)
    print(f"SOAK_SEED={SEED} round {round}")
    root = code_base(tmp_path / "code", FILES)
    async with Stack(tmp_path / "data") as stack:
        agents = await stack.agents()
        id = await agents.start("code-auditor", AuditInput(path=str(root), apply=True), owner="local")
        murders = asyncio.create_task(_murders(stack, chance))

        async def asked() -> AgentView | None:
            view = await seen(agents, id)
            return view if view and view.approval else None

        await eventually(asked, 600)
        await agents.decide(id, Verdict.APPROVE, by="local", through="cli")
        view = await ended(agents, id)
        killed = await murders
        assert killed["worker"] + killed["server"] > 0
        assert_every_fix_was_written_once(stack, view, FILES)


async def _murders(stack: Stack, chance: random.Random) -> Counter[str]:
    """Six kills, some seconds apart, whatever is going on."""
    killed: Counter[str] = Counter()
    for _ in range(6):
        await asyncio.sleep(chance.uniform(1, 12))
        who = chance.choice(["worker", "server", "both"])
        if who in ("server", "both"):
            await stack.kill_server()
            killed["server"] += 1
        if who in ("worker", "both"):
            await stack.kill_worker()
            killed["worker"] += 1
        await asyncio.sleep(chance.uniform(0, 3))
        if who in ("server", "both"):
            await stack.server.start()
        if who in ("worker", "both"):
            await stack.start_worker()
    return killed
