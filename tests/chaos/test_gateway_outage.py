"""The gateway while Temporal or the gateway itself is killed: what got 202 is there, streams have no gap."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from asyncio.subprocess import Process
from itertools import pairwise
from pathlib import Path
from typing import Any

import httpx

from cli.children import end_child, start_child
from cli.dev_server import free_port
from common.agents.auditor import AuditInput
from common.approval.types import Verdict
from common.client.client import AgentClient
from common.client.tokens import Scope, TokenFile
from testing.waiting import eventually
from tests.support.stack import ROOT, Stack

OUTAGE_SECONDS = 8
SHOP = ROOT / "tests" / "samples" / "shop"


class Gateway:
    """A gateway as a process of its own, to be killed and started again on its port."""

    def __init__(self, stack: Stack) -> None:
        self._stack = stack
        self._process: Process | None = None
        self._port = free_port()
        self.address = f"http://127.0.0.1:{self._port}"
        scopes = [Scope.READ, Scope.WRITE, Scope.DECIDE]
        TokenFile.of(stack.settings).add("ann", scopes, "token-of-ann")
        self.headers = {"Authorization": "Bearer token-of-ann"}

    async def start(self) -> None:
        environment = {
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "TEMPORAL_ADDRESS": self._stack.server.address,
            "HIBERNAUT_DATA_DIR": str(self._stack.settings.data_dir),
            "HIBERNAUT_HTTP": f"127.0.0.1:{self._port}",
            "HIBERNAUT_HTTP_RATE": "1000",
        }
        log = self._stack.settings.data_dir / "logs" / "gateway.log"
        self._process = await start_child([sys.executable, "-m", "gateway"], environment=environment, log=log)
        await eventually(self._answers)

    async def kill(self) -> None:
        assert self._process is not None
        self._process.kill()
        assert await self._process.wait() == -signal.SIGKILL

    async def end(self) -> None:
        if self._process:
            await end_child(self._process, 10)

    async def _answers(self) -> bool:
        async with httpx.AsyncClient() as client:
            try:
                return (await client.get(f"{self.address}/healthz")).status_code == 200
            except httpx.TransportError:
                return False


async def asking(agents: AgentClient, shop: Path) -> str:
    audit = AuditInput(path=str(shop), apply=True, approvers=["ann"])
    id = await agents.start("code-auditor", audit, owner="boss")

    async def asked() -> bool:
        return bool((await agents.view(id)).requests)

    await eventually(asked)
    return id


async def test_a_decision_that_got_202_is_there_though_temporal_was_killed(tmp_path: Path) -> None:
    """Decisions sent before, in and after an outage: each 202 counts once, 503 says when to come back."""
    async with Stack(tmp_path) as stack:
        gateway = Gateway(stack)
        await gateway.start()
        agents = await stack.agents()
        ids = [await asking(agents, SHOP) for _ in range(4)]
        try:
            async with httpx.AsyncClient(
                base_url=gateway.address, headers=gateway.headers, timeout=90
            ) as client:

                async def decide(id: str, number: int) -> httpx.Response:
                    body = {"verdict": "reject", "note": f"decision {number}"}
                    key = {"Idempotency-Key": f"key-{number}"}
                    return await client.post(f"/agents/{id}/decisions", json=body, headers=key)

                assert (await decide(ids[0], 0)).status_code == 202
                await stack.kill_server()
                assert (await client.get("/readyz")).status_code == 503
                assert (await client.get("/healthz")).status_code == 200
                during = [asyncio.create_task(decide(id, number)) for number, id in enumerate(ids[1:], 1)]
                await asyncio.sleep(OUTAGE_SECONDS)
                # Nothing may have been acknowledged while nobody was there to keep it.
                assert not [each for each in during if each.done() and each.result().status_code == 202]
                await stack.server.start()
                answers = await asyncio.gather(*during)
                for number, (id, answer) in enumerate(zip(ids[1:], answers, strict=True), 1):
                    if answer.status_code != 202:
                        assert answer.status_code == 503, answer.text
                        assert int(answer.headers["retry-after"]) > 0

                        async def again(id: str = id, number: int = number) -> bool:
                            return (await decide(id, number)).status_code == 202

                        await eventually(again)
                print(f"statuses during the outage: {[answer.status_code for answer in answers]}")
                for number, id in enumerate(ids):

                    async def ended(id: str = id) -> bool:
                        view = await agents.view(id)
                        return view.live and not view.running

                    await eventually(ended)
                    view = await agents.view(id)
                    counted = [each for each in view.decisions if each.status == "counted"]
                    assert [each.decision.note for each in counted] == [f"decision {number}"]
        finally:
            await gateway.end()


class Reader:
    """Reads an agent's events like a browser: comes back with the last id it had."""

    def __init__(self, gateway: Gateway, id: str) -> None:
        self._gateway = gateway
        self._path = f"{gateway.address}/agents/{id}/events"
        self._last = ""
        self.events: list[tuple[str, str, Any]] = []
        self.connections = 0
        self.over = False

    async def read(self) -> None:
        """Read until the agent is over."""
        async with httpx.AsyncClient(timeout=httpx.Timeout(5, read=60)) as client:
            while not self.over:
                try:
                    await self._read_on(client)
                except httpx.TransportError:
                    await asyncio.sleep(0.2)

    async def reached(self, *, events: int = 0, connections: int = 0) -> None:
        """Wait until it has had so many events and connections."""

        async def has() -> bool:
            return len(self.events) >= events and self.connections >= connections

        await eventually(has)

    async def _read_on(self, client: httpx.AsyncClient) -> None:
        headers = {**self._gateway.headers, **({"Last-Event-ID": self._last} if self._last else {})}
        async with client.stream("GET", self._path, headers=headers) as answer:
            self.connections += 1
            if answer.status_code == 204:
                self.over = True
                return
            assert answer.status_code == 200, await answer.aread()
            fields: dict[str, str] = {}
            async for line in answer.aiter_lines():
                name, _, value = line.partition(": ")
                if line:
                    fields[name] = value
                elif "data" in fields:
                    self._last = fields["id"]
                    self.events.append((fields["id"], fields["event"], json.loads(fields["data"])))
                    fields = {}
                else:
                    fields = {}


async def test_a_stream_resumes_without_gap_or_duplicate_over_a_restart_of_the_gateway(
    tmp_path: Path,
) -> None:
    """Killed twice while an agent works: every line came once, in order, and the last state."""
    async with Stack(tmp_path) as stack:
        gateway = Gateway(stack)
        await gateway.start()
        agents = await stack.agents()
        id = await agents.start(
            "code-auditor", AuditInput(path=str(SHOP), apply=True, approvers=["boss"]), owner="ann"
        )
        reader = Reader(gateway, id)
        reading = asyncio.create_task(reader.read())
        try:
            for number in range(2):
                await reader.reached(events=number + 1)
                seen = reader.connections
                await gateway.kill()
                for word in ("one", "two"):
                    await agents.tell(id, f"{word} while gateway {number} was down")
                await gateway.start()
                await reader.reached(connections=seen + 1)

            async def asked() -> bool:
                return bool((await agents.view(id)).requests)

            await eventually(asked)

            await agents.decide(id, Verdict.REJECT, by="boss", note="no", through="cli")
            await asyncio.wait_for(reading, 90)
        finally:
            reading.cancel()
            await gateway.end()
        view = await agents.view(id)
        notes = [data for _, kind, data in reader.events if kind == "note"]
        assert [note["number"] for note in notes] == list(range(1, len(view.notebook) + 1))
        assert [note["text"] for note in notes] == [entry.text for entry in view.notebook]
        assert sum("was down" in note["text"] for note in notes) == 4
        ids = [id for id, _, _ in reader.events]
        assert len(set(ids)) == len(ids)
        states = [data for _, kind, data in reader.events if kind == "state"]
        assert states[-1]["status"] == "completed"
        assert all(before != after for before, after in pairwise(states))
        assert reader.connections >= 4  # the first, one after each kill, and the one that heard 204
