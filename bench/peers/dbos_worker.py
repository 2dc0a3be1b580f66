"""The agent on DBOS: `python -m bench.peers.dbos_worker SOCKET DATABASE`.

Workflow and steps are coroutines, as in a web application; messages arrive by LISTEN and NOTIFY, its default.
On start it recovers every workflow that has not ended, sleeping ones included: each waits in this process.
"""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path
from typing import Any

from dbos import DBOS, SetWorkflowID

from bench.peers.effects import VALUE, Effects
from bench.peers.rpc import serve

TOPIC = "approval"
TEN_DAYS = 10 * 24 * 3600.0
# Polling of workflows that this process did not start itself; DBOS's default is one second.
LOOK_SECONDS = 0.02
effects = Effects.of(os.environ)
loops: list[asyncio.AbstractEventLoop] = []
asleep: dict[str, asyncio.Event] = {}
running: dict[str, Any] = {}


async def step(id: str, number: int) -> dict[str, Any]:
    """Take a step."""
    return {"number": number, "text": await effects.step(id, number)}


async def look() -> int:
    """Fetch the fact."""
    return VALUE


async def act(id: str) -> str:
    """Do it, with the workflow's id as the key."""
    return await effects.act(id)


step, look, act = (DBOS.step()(each) for each in (step, look, act))


async def agent(id: str, steps: int) -> str:
    """Take steps, wait for an approval, validate, act."""
    for number in range(steps):
        await step(id, number)
    # Workflows recovered after a crash run in another thread's loop.
    loops[0].call_soon_threadsafe(lambda: asleep.setdefault(id, asyncio.Event()).set())
    if await DBOS.recv_async(TOPIC, timeout_seconds=TEN_DAYS) is None:
        raise RuntimeError("nobody approved")
    if await look() != VALUE:
        raise RuntimeError("the fact drifted")
    return str(await act(id))


agent = DBOS.workflow(name="agent")(agent)


async def start(id: str, steps: int) -> None:
    """Start a workflow and wait until it sleeps; idempotent by id."""
    waiting = asleep.setdefault(id, asyncio.Event())
    with SetWorkflowID(id):
        running[id] = await DBOS.start_workflow_async(agent, id, steps)
    await waiting.wait()


async def wake(id: str, by: str) -> str:
    """Approve and wait for the end; the approval's idempotency key makes retries harmless."""
    await DBOS.send_async(id, {"by": by}, TOPIC, idempotency_key=f"{id}-approval")
    handle = running.pop(id, None) or await DBOS.retrieve_workflow_async(id)
    return str(await handle.get_result(polling_interval_sec=LOOK_SECONDS))


async def work(socket: Path, database: str) -> None:
    """Work until SIGTERM."""
    loops.append(asyncio.get_running_loop())
    DBOS(
        config={
            "name": "bench",
            "system_database_url": database.replace("postgresql://", "postgresql+psycopg://"),
            "log_level": "WARNING",
            # Fixed, whatever this file's code: a restart of the bench is not a new version.
            "application_version": "1",
        }
    )
    DBOS.launch()
    await serve(socket, {"start": start, "wake": wake})
    DBOS.destroy()


if __name__ == "__main__":
    asyncio.run(work(Path(sys.argv[1]), sys.argv[2]))
