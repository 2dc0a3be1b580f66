"""What a recruiter costs while it waits for a thousand candidates, compared with one that waits for one.

A real worker writes to all of them over SMTP, then ends; what remains is measured. Then a worker is started,
and mail comes in for one candidate. The last line of the output is JSON.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sqlite3
import sys
from asyncio.subprocess import Process
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from time import perf_counter
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

import psutil
from aiosmtpd.controller import Controller
from aiosmtpd.handlers import Sink
from temporalio.api.enums.v1 import EventType
from temporalio.client import Client

from bench.harness import end_with, measured, started_worker
from cli.children import end_child
from cli.dev_server import DevServer, free_port
from common.agents.recruiter import RecruiterInput
from common.approval.floors import write_alone
from common.approval.signing import Signer
from common.approval.types import Verdict
from common.client.client import AgentClient
from common.mail import IncomingMail, MailKind
from common.settings import Settings
from common.temporal.connect import connect

ROOT = Path(__file__).parents[1]
ID = "recruiter-bench"
WAKE_UPS = 5


def candidates(count: int) -> RecruiterInput:
    """An input with `count` candidates, each with a profile of a few lines."""
    return RecruiterInput.model_validate(
        {
            "role": {"title": "Keeper of tides", "must_have": ["tide tables"]},
            "candidates": [
                {
                    "id": f"c{number}",
                    "name": f"Candidate Nr{number}",
                    "email": f"c{number}@example.com",
                    "profile": "I keep tide tables.\nI have drawn charts of harbours for years.\n" * 3,
                }
                for number in range(count)
            ],
            "questions": ["When could you start?"],
        }
    )


class Bench:
    """One agent with `count` candidates, on its own server."""

    def __init__(self, folder: Path, mail_port: int, count: int) -> None:
        self.settings = Settings.read({"HIBERNAUT_DATA_DIR": str(folder)})
        write_alone(self.settings)
        self.signer = Signer.load(self.settings, create=True)
        self.server = DevServer(self.settings, ui_port=None)
        self._mail_port = mail_port
        self._count = count
        self._folder = folder

    async def run(self) -> dict[str, Any]:
        """Run it and return the figures."""
        await self.server.start()
        await end_child(await self._worker(), 30)
        await self.server.stop()
        empty = self._database()
        await self.server.start()
        worker = await self._worker()
        seconds = await self._fall_asleep()
        await end_child(worker, 30)
        await self.server.stop()
        asleep = self._database() - empty
        await self.server.start()
        client = await self._client()
        history = await client.get_workflow_handle(ID).fetch_history()
        kinds = [EventType.Name(event.event_type).removeprefix("EVENT_TYPE_") for event in history.events]
        figures = {
            "candidates": self._count,
            "seconds_until_asleep": round(seconds, 1),
            "processes_asleep": 0 if worker.returncode is not None else 1,
            "timers_asleep": kinds.count("TIMER_STARTED")
            - kinds.count("TIMER_FIRED")
            - kinds.count("TIMER_CANCELED"),
            "history_events": len(kinds),
            "history_bytes": sum(event.ByteSize() for event in history.events),
            "database_bytes": asleep,
            "payload_store_bytes": _size(self._folder / "objects" / "payloads"),
        }
        worker = await self._worker()
        cold, *warm = [await self._wake(client, worker, number) for number in range(1, WAKE_UPS + 1)]
        await end_child(worker, 30)
        await self.server.stop()
        return figures | {
            "first_wake_up": cold,
            "later_wake_up": sorted(warm, key=lambda w: w["ms"])[len(warm) // 2],
        }

    async def _worker(self) -> Process:
        environment = {
            "TEMPORAL_ADDRESS": self.server.address,
            "TEMPORAL_CONFIG_FILE": os.devnull,
            "HIBERNAUT_SMTP": f"smtp://127.0.0.1:{self._mail_port}",
            "HIBERNAUT_MAIL_FROM": "agents@example.com",
            "HIBERNAUT_MAIL_REPLY_TO": "answers@example.com",
            "HIBERNAUT_PUBLIC_URL": "http://localhost:8080",
            "HIBERNAUT_DATA_DIR": str(self._folder),
        }
        log = self._folder / "logs" / f"worker-{perf_counter()}.log"
        return await started_worker([sys.executable, str(ROOT / "worker.py")], environment, log)

    async def _client(self) -> Client:
        os.environ.update(TEMPORAL_ADDRESS=self.server.address, TEMPORAL_CONFIG_FILE=os.devnull)
        return await connect(self.settings)

    async def _fall_asleep(self) -> float:
        agents = AgentClient(await self._client(), self.settings, self.signer)
        before = perf_counter()
        await agents.start("recruiter", candidates(self._count), id=ID, owner="owner-1")
        decided = False
        while True:
            view = await agents.view(ID)
            if not view.running:
                raise RuntimeError(f"the agent ended: {view.failure}")
            if view.node == "wait" and view.state == "awaiting_event":
                return perf_counter() - before
            if view.approval is not None and not decided:
                decided = True
                await agents.decide(ID, Verdict.APPROVE, by="owner-1", through="cli")
            await asyncio.sleep(0.2)

    async def _wake(self, client: Client, worker: Process, number: int) -> dict[str, float]:
        """Send one candidate's mail; return milliseconds until it is processed, and the worker's CPU."""
        handle = client.get_workflow_handle(ID)
        process = psutil.Process(worker.pid)
        length = (await handle.describe()).history_length
        cpu, before = sum(process.cpu_times()[:2]), perf_counter()
        mail = IncomingMail(
            message_id=f"<{number}@example.com>",
            thread="c0",
            kind=MailKind.OUT_OF_OFFICE,
            sender="c0@example.com",
            subject="Away",
            text="I am away.",
            received_at=datetime.now(UTC),
        )
        await handle.signal("mail", mail)
        # Poll the server: a query would add to the worker's CPU.
        while True:
            described = (await handle.describe()).raw_description
            info = described.workflow_execution_info
            if info.history_length > length + 1 and not described.HasField("pending_workflow_task"):
                break
            await asyncio.sleep(0.01)
        milliseconds = (perf_counter() - before) * 1000
        return {"ms": round(milliseconds, 1), "cpu_s": round(sum(process.cpu_times()[:2]) - cpu, 3)}

    def _database(self) -> int:
        """Size of the ended server's database, without free pages and journal."""
        copy = self._folder / "copy.db"
        copy.unlink(missing_ok=True)
        with closing(sqlite3.connect(self._folder / "temporal.db")) as database:
            database.execute("VACUUM INTO ?", (str(copy),))
        return copy.stat().st_size


def _size(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


async def bench(options: argparse.Namespace, folder: Path) -> list[dict[str, Any]]:
    """Run with one candidate, then with as many as asked for."""
    port = free_port()
    mail = Controller(Sink(), hostname="127.0.0.1", port=port)
    mail.start()
    try:
        async with asyncio.timeout(options.limit):
            return [await Bench(folder / str(count), port, count).run() for count in (1, options.candidates)]
    finally:
        mail.stop()


def main() -> int:
    """Parse the options, run, print the report; the exit code is 1 if an extra timer or a process remains."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--candidates", type=int, default=1000, help="candidates of the second agent")
    parser.add_argument("--limit", type=float, default=1800, help="give up after so many seconds")
    options = parser.parse_args()
    if not 1 <= options.candidates <= 1000:
        parser.error("give 1 to 1000 candidates")
    figures = measured(lambda folder: bench(options, folder), options.limit)
    for each in figures:
        print(json.dumps(each))
    good = all(each["timers_asleep"] == 1 and each["processes_asleep"] == 0 for each in figures)
    print(json.dumps({"asleep": figures}))
    return 0 if good else 1


if __name__ == "__main__":
    end_with(main)
