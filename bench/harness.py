"""Helpers to run and end a benchmark."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import sys
import tempfile
from argparse import ArgumentParser
from asyncio.subprocess import Process
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NoReturn, TypeVar

from temporalio.worker import Worker

from activities.calls.interceptor import ReliableReports
from cli.children import start_child
from cli.cluster.cluster import Cluster
from cli.dev_server import DevServer
from common.approval.signing import Signer
from common.lifecycle import WORKER_READY, exit_now
from common.settings import Settings

ROOT = Path(__file__).parents[1]

Report = TypeVar("Report")


def add_common_options(parser: ArgumentParser, *, limit: float) -> None:
    """Add the options of every bench with randomness; the seed is random by default."""
    seed = random.SystemRandom().randrange(10**6)
    parser.add_argument("--seed", type=int, default=seed, help="of everything random; made up if not given")
    parser.add_argument("--limit", type=float, default=limit, help="give up after so many seconds")
    parser.add_argument("--json", action="store_true", help="nothing but the line of JSON")


def measured(
    bench: Callable[[Path], Coroutine[object, object, Report]], limit: float, remark: str = ""
) -> Report:
    """Run `bench` in an empty folder for at most `limit` seconds, and return its report.

    Raises:
        SystemExit: 1 if it took longer, printed with `remark`; 130 if it was interrupted.
    """
    with tempfile.TemporaryDirectory(prefix="hibernaut-bench-") as folder:
        try:
            return asyncio.run(bench(Path(folder)))
        except TimeoutError:
            print(f"not done within {limit:g} s{remark}", file=sys.stderr)
            raise SystemExit(1) from None
        except asyncio.CancelledError:
            raise SystemExit(130) from None


@asynccontextmanager
async def own_cluster(folder: Path, limit: float) -> AsyncIterator[tuple[Cluster, Settings]]:
    """Like `own_server`, with Temporal on PostgreSQL, whose parts are restarted when they end."""
    # The data folder is private, but PostgreSQL's user must be able to traverse this one.
    os.chmod(folder, 0o711)  # noqa: S103
    settings = Settings.read({"HIBERNAUT_DATA_DIR": str(folder / "data")})
    async with bounded(limit), kept_cluster(folder / "cluster", settings) as cluster:
        yield cluster, settings


@asynccontextmanager
async def kept_cluster(folder: Path, settings: Settings) -> AsyncIterator[Cluster]:
    """A set-up cluster in `folder`, whose parts are restarted when they end; clients here find it."""
    settings.data_dir.mkdir(mode=0o700)
    Signer.load(settings, create=True)
    async with Cluster(folder) as cluster:
        keeping = asyncio.create_task(cluster.keep())
        try:
            environment = {**cluster.environment(), "HIBERNAUT_DATA_DIR": str(settings.data_dir)}
            await cluster.set_up(environment)
            os.environ.update(cluster.environment())
            yield cluster
        finally:
            keeping.cancel()
            await asyncio.gather(keeping, return_exceptions=True)


@asynccontextmanager
async def own_server(folder: Path, limit: float) -> AsyncIterator[tuple[DevServer, Settings]]:
    """A Temporal server on `folder` and its clients' settings, for at most `limit` seconds.

    SIGINT and SIGTERM cancel what is running, so that it ends gracefully.

    Raises:
        TimeoutError: the limit has passed.
    """
    settings = Settings.read({"HIBERNAUT_DATA_DIR": str(folder)})
    async with bounded(limit), DevServer(settings, ui_port=None) as server:
        # Use the bench's own server; ignore any address from the shell or a config file.
        os.environ.update(server.environment())
        yield server, settings


def bounded(limit: float) -> asyncio.Timeout:
    """A timeout; SIGINT and SIGTERM cancel this task, too."""
    task = asyncio.current_task()
    assert task
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    return asyncio.timeout(limit)


async def start_worker(command: Sequence[str], environment: Mapping[str, str], log: Path) -> Process:
    """Start a worker process; of this shell's settings it gets only `environment`."""
    # Let it write bytecode: the sandbox imports an agent's module at each start.
    dropped = ("TEMPORAL_", "HIBERNAUT_", "BENCH_", "PYTHONDONTWRITEBYTECODE")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(dropped)}
    return await start_child(command, environment={**kept, "PYTHONPATH": str(ROOT), **environment}, log=log)


async def started_worker(command: Sequence[str], environment: Mapping[str, str], log: Path) -> Process:
    """Start a worker process and wait until it is ready; see `start_worker`.

    Raises:
        RuntimeError: the worker ended before it was ready.
    """
    worker = await start_worker(command, environment, log)
    while WORKER_READY not in (said := await asyncio.to_thread(log.read_text)):
        if worker.returncode is not None:
            raise RuntimeError(f"the worker ended: {said[-500:]}")
        await asyncio.sleep(0.1)
    return worker


async def work_until_stopped(worker: Worker, reports: ReliableReports) -> None:
    """Run a worker in this process, say that it is ready, and end it gracefully on SIGTERM."""
    stopped = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopped.set)
    async with worker:
        print(WORKER_READY, file=sys.stderr, flush=True)
        await stopped.wait()
    await reports.drain(5)


def end_with(main: Callable[[], int]) -> NoReturn:
    """Run `main` and exit with its code."""
    try:
        code: object = main()
    except SystemExit as early:
        code = early.code
    exit_now(code if isinstance(code, int) else 0)
