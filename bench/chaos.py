"""Agents of every kind while all around them fails: nothing acknowledged is lost, nothing happens twice.

Real workers and a real server, with a broker, a web site, a language model, mail, Slack and S3 behind
proxies. Processes are killed and suspended, the server and each of the others go down, requests are cut off
or delayed, answers get lost, the disk is full, a clock is off by days, and every message is sent twice. What
was observed outside is then compared with what the agents report. The last line of the output is JSON.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import shutil
import signal
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from time import perf_counter
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from bench.harness import ROOT, add_common_options, end_with, measured
from bench.peers.chaos.agents import CASES, Case, CaseContext
from bench.peers.chaos.faults import FAKETIME, Disk, Fault, Faults, Pace, Targets
from bench.peers.chaos.outside import CHANNEL, Outside
from bench.peers.chaos.people import People
from bench.peers.chaos.proxy import Proxy, RequestFault
from bench.peers.chaos.witnesses import Witnesses
from bench.peers.fleet import Fleet
from cli.dev_server import DevServer
from common.approval.floors import write_alone
from common.approval.signing import Signer
from common.artifacts import ArtifactStore
from common.client.client import AgentClient
from common.files import write_atomically
from common.settings import Settings
from common.temporal.connect import connect
from testing.fixtures import open_all

# On a busy machine, agents get this many times the short run's seconds before they count as abandoned.
BUSY = 4
SMALL_KILLS = 3
# In megabytes: hours of agents leave more behind.
SMALL_DISK, LONG_DISK = 64, 1024
SMALL = Pace(away=(5, 7), down=(3, 5), stopped=(2, 4), between=(0.2, 1), strikes=(0.3, 0.8), clock_off=15)
LONG = Pace(away=(5, 30), down=(5, 40), stopped=(2, 60), between=(2, 20), strikes=(0.5, 3), clock_off=120)
# Lifetime of a worker in the long run, in seconds. Starting one costs a few seconds of CPU.
LIFE = (8.0, 24.0)
SAYS_EVERY = 20.0
# How long agents may take to end after the last fault: longer than any of their timeouts.
RECOVERY = 1800.0


class Chaos:
    """One run on one server."""

    def __init__(
        self,
        options: argparse.Namespace,
        folder: Path,
        server: DevServer,
        outside: Outside,
        disk: Disk | None,
    ) -> None:
        self._options, self._folder, self._server, self._outside = options, folder, server, outside
        self._disk = disk
        self._chance = random.Random(options.seed)  # noqa: S311 - it has to repeat
        self._count = Counter[str]()
        self._began = options.began
        data = {"HIBERNAUT_DATA_DIR": str(folder / "data")}
        self._settings = Settings.read({**data, **outside.s3}).but(working_agents=None)
        open_all(self._settings.data_dir)
        write_alone(self._settings)
        notices = {"routes": [{"ways": [f"slack:{CHANNEL}"]}]}
        write_atomically(self._settings.data_dir / "notices.json", json.dumps(notices).encode())
        self._signer = Signer.load(self._settings, create=True)
        port = int(server.address.rpartition(":")[2])
        self._workers = Proxy("temporal", port, self._chance)
        self._clients = Proxy("temporal", port, self._chance)
        self._environment = {**outside.environment, **data, "TEMPORAL_CONFIG_FILE": os.devnull}
        self._made = Counter[type[Case]]()
        self._cases: list[Case] = []
        self._over = False

    async def run(self) -> dict[str, Any]:
        """Start everything, run the faults, wait for all agents to end; return the report."""
        for line in (self._workers, self._clients):
            await line.start()
        # Use the bench's own server; ignore any address from the shell or a config file.
        os.environ.update(TEMPORAL_ADDRESS=f"127.0.0.1:{self._clients.port}", TEMPORAL_CONFIG_FILE=os.devnull)
        self._environment["TEMPORAL_ADDRESS"] = f"127.0.0.1:{self._workers.port}"
        logs = self._folder / "logs"
        fleet = Fleet(
            logs,
            self._environment,
            self._options.workers,
            lambda _: (sys.executable, str(ROOT / "worker.py")),
        )
        client = await connect(self._settings)
        agent_client = AgentClient(client, self._settings, self._signer)
        self._people = People(client, agent_client, self._outside, self._chance, self._count)
        pace = LONG if self._options.kills else SMALL
        targets = Targets(fleet, self._server, self._outside, self._workers, self._clients, self._disk)
        self._faults = Faults(targets, self._chance, pace, self._count, self._tell)
        self._agents = set[asyncio.Task[None]]()
        keeping = asyncio.create_task(fleet.keep_up())
        try:
            network = asyncio.create_task(self._faults.network())
            await (self._long() if self._options.kills else self._small())
            network.cancel()
            self._tell("no more faults")
            open_cases = await self._ended()
            witnesses = Witnesses(self._people, client, agent_client, self._outside, self._settings.data_dir)
            report = await witnesses.compare(self._cases, open_cases, self._faults.off)
            self._explain(report)
            return self._with_faults(report)
        finally:
            keeping.cancel()
            await fleet.end()
            for line in (self._workers, self._clients):
                await line.stop()
            if self._options.keep:
                shutil.copytree(logs, self._options.keep, dirs_exist_ok=True)

    async def _small(self) -> None:
        """The short run: faults of processes while agents prepare, then all others while they act."""
        for kind in CASES:
            for _ in range(self._options.agents):
                self._start(kind)
        faults = self._faults
        clock = asyncio.create_task(faults.clock()) if FAKETIME else None
        await asyncio.sleep(2)
        rough = [*faults.to_processes, *[faults.kill] * (SMALL_KILLS - 1)]
        await faults.one_after_another(faults.shuffled(rough))
        # A call that dies with its worker comes back only after its timeout, a minute or more. So, in a
        # two-minute run, do not kill workers or lose their tasks once agents act.
        faults.spare_workers()
        self._people.may_decide.set()
        # The disk first, while all agents want to write.
        first, *rest = faults.to_others
        others = [first, *faults.shuffled(rest)]
        await asyncio.gather(faults.one_after_another(others[::2]), faults.one_after_another(others[1::2]))
        if clock:
            await clock

    async def _long(self) -> None:
        """The long run: any fault at any time, with ended agents replaced, until enough kills."""
        self._people.may_decide.set()
        faults = self._faults
        going = [
            asyncio.create_task(each)
            for each in (
                self._over_and_over(faults.to_processes[1:]),
                self._over_and_over(faults.to_others),
                *([self._over_and_over([faults.clock])] if FAKETIME else []),
            )
        ]
        try:
            while self._count["kills"] < self._options.kills:
                for kind in CASES:
                    for _ in range(self._options.agents - self._running(kind)):
                        self._start(kind)
                await asyncio.sleep(self._chance.uniform(*LIFE) / self._options.workers)
                await faults.kill()
                for task in (*going, *self._agents):
                    if task.done():
                        task.result()
        finally:
            self._over = True
            await asyncio.gather(*going)

    async def _over_and_over(self, faults: Sequence[Fault]) -> None:
        while not self._over:
            for fault in self._faults.shuffled(faults):
                if not self._over:
                    await self._faults.one_after_another([fault])

    def _start(self, kind: type[Case]) -> None:
        artifacts = ArtifactStore.of(self._settings)
        context = CaseContext(self._outside, self._folder / "work", artifacts)
        case = kind(self._made[kind], context)
        self._made[kind] += 1
        self._cases.append(case)
        self._agents.add(asyncio.create_task(self._people.look_after(case), name=case.id))

    def _running(self, kind: type[Case]) -> int:
        return sum(not task.done() and task.get_name().startswith(f"{kind.kind}-") for task in self._agents)

    async def _ended(self) -> list[Case]:
        """Wait for all agents to end; return those that do not in time."""
        small = self._options.seconds * BUSY - (perf_counter() - self._began)
        left = RECOVERY if self._options.kills else max(small, 0)
        end = perf_counter() + left
        while late := {task for task in self._agents if not task.done()}:
            if perf_counter() > end:
                break
            await asyncio.wait(late, timeout=SAYS_EVERY)
            self._tell(f"{sum(not task.done() for task in late)} agents still run")
        names = {task.get_name() for task in late}
        for task in late:
            task.cancel()
        for task in self._agents - late:
            task.result()
        return [case for case in self._cases if case.id in names]

    def _with_faults(self, report: dict[str, Any]) -> dict[str, Any]:
        proxies = [*self._outside.proxies.values(), self._workers, self._clients]
        struck = sum((proxy.count for proxy in proxies), Counter[str]())
        names = (
            "kills",
            "stops",
            "server_stops",
            "outages",
            "disk_full",
            "server_without_disk",
            "clocks_off",
        )
        return {
            **report,
            **{name: self._count[name] for name in names},
            **{fault.value: struck[fault] for fault in RequestFault},
            "refused": struck["refused"],
            "unnoticed": self._count["unnoticed"],
            "no_room": self._faults.without_room(),
            **{f"{name}_down": self._count[f"{name}_down"] for name in self._outside.proxies},
            **{name: self._count[name] for name in ("decisions", "signals_twice", "mails_twice")},
            "left_out": self._outside.left_out,
            "seed": self._options.seed,
            "seconds": round(perf_counter() - self._began, 1),
        }

    def _explain(self, report: dict[str, Any]) -> None:
        for line in report.pop("why"):
            print(line, file=sys.stderr, flush=True)

    def _tell(self, text: str) -> None:
        if not self._options.json:
            print(f"{perf_counter() - self._began:6.1f} {text}", file=sys.stderr, flush=True)


MUST_BE_ZERO = ("lost", "duplicated", "missing", "forbidden", "failed", "needing_human")
# Faults that need something a machine may lack.
OPTIONAL = {"disk_full": "disk", "clocks_off": "clock", "imap_down": "IMAP"}


def wanted(left_out: Sequence[str]) -> list[str]:
    """The faults that must happen on a machine that lacks only this."""
    lacks = {name for name, what in OPTIONAL.items() if any(each.startswith(what) for each in left_out)}
    faults = [
        *("kills", "stops", "server_stops", "outages", "disk_full", "clocks_off", "refused"),
        *(fault.value for fault in RequestFault),
        *(f"{name}_down" for name in ("s3", "slack", "smtp", "imap", "model", "broker", "web")),
        *("signals_twice", "mails_twice"),
    ]
    return [name for name in faults if name not in lacks]


def holds(report: dict[str, Any]) -> bool:
    """Whether the run succeeded: nothing went wrong, and every fault has happened."""
    happened = all(report.get(name) for name in wanted(report["left_out"]))
    return happened and not any(report[name] for name in MUST_BE_ZERO)


async def bench(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Run everything in `folder`, within the time limit."""
    task = asyncio.current_task()
    assert task
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    outside = Outside(random.Random(options.seed))  # noqa: S311 - it has to repeat
    disk = Disk(folder / "data", LONG_DISK if options.kills else SMALL_DISK) if options.disk else None
    if not disk:
        outside.left_out.append("disk: only root may mount a small one")
    if not FAKETIME:
        outside.left_out.append("clock: libfaketime is missing; Debian's package libfaketime has it")
    if disk:
        disk.mount()
    try:
        settings = Settings.read({"HIBERNAUT_DATA_DIR": str(folder / "data")})
        async with (
            asyncio.timeout(options.limit),
            outside.running(),
            DevServer(settings, ui_port=None) as server,
        ):
            return await Chaos(options, folder, server, outside, disk).run()
    finally:
        if disk:
            disk.unmount()


def main() -> int:
    """Parse the options, run, print the report, and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--seconds", type=float, default=120, help="what the small form takes, about")
    parser.add_argument(
        "--kills", type=int, default=0, help="the long form: all of it until so many workers were killed"
    )
    parser.add_argument("--agents", type=int, default=1, help="of each kind, at a time")
    parser.add_argument("--workers", type=int, default=2, help="worker processes")
    parser.add_argument("--keep", type=Path, default=None, help="a folder for the workers' logs")
    add_common_options(parser, limit=6 * 3600)
    options = parser.parse_args(namespace=argparse.Namespace(began=perf_counter()))
    if options.seconds < 60 or options.kills < 0 or options.agents < 1 or options.workers < 1:
        parser.error("give 60 or more seconds, one or more agents and workers")
    print(f"seed {options.seed}", file=sys.stderr, flush=True)
    options.disk = Disk.can_be()
    report = measured(lambda folder: bench(options, folder), options.limit, f", seed {options.seed}")
    print(json.dumps(report))
    return 0 if holds(report) else 1


if __name__ == "__main__":
    end_with(main)
