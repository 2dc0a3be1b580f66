"""`starter.py logs`: what workers and gateway of this machine's stack logged, in all or about one agent."""

from __future__ import annotations

import asyncio
import heapq
import re
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from datetime import timedelta
from pathlib import Path

from pydantic import BaseModel
from temporalio.api.enums.v1 import TaskQueueType
from temporalio.client import Client
from temporalio.service import RPCError

from cli.clients import open_client
from cli.output import clean, print_document, say
from common.client.errors import NoSuchAgentError, for_agent
from common.client.pollers import pollers
from common.settings import Settings
from common.temporal.connect import CannotConnectError, StackAddress, Target

# Short: Temporal only adds run ids to search for; the log can be read without it.
PATIENCE = timedelta(seconds=2)
EVERY = 0.5  # seconds between polls of --follow
_TIME = re.compile(r'(?:\{"time": ")?(\d{4}-\d\d-\d\d)[ T](\d\d:\d\d:\d\d[.,]\d+)')
_COLOUR = re.compile(r"\x1b\[[\d;]*m")
# Matches lines of a traceback, which belongs to the line before it.
_GOES_ON = re.compile(r"\s|$|Traceback \(most|The above exception|During handling of")

Wanted = Callable[[str], bool]


class LogLine(BaseModel, frozen=True):
    """A line of a log, the time as logged, and which log it is from."""

    time: str
    log: str
    text: str


async def logs(settings: Settings, id: str | None, most: int, *, follow: bool, as_json: bool) -> None:
    """Print the last lines; with ``follow``, also new ones until Ctrl-C.

    Raises:
        NoSuchAgentError: neither the log nor Temporal knows of the agent.
    """
    if elsewhere := await _elsewhere(settings):
        say(elsewhere)
        return
    files = _files(settings)
    wanted = matching(await _names_of(settings, id) if id else [])
    tail = Tail({path: path.stat().st_size for path in files}) if follow else None
    last = list(deque(heapq.merge(*(lines_of(path, wanted) for path in files), key=_when), maxlen=most))
    if as_json:
        print_document(last)
    else:
        _print(last)
    if not files:
        where = settings.data_dir / "logs"
        say(f"no log in {where}: `starter.py dev` writes it there, and workers elsewhere to their stderr.")
    elif not last and id:
        say(f"nothing about {id} in {settings.data_dir / 'logs'}.")
    while tail:
        await asyncio.sleep(EVERY)
        for path in _files(settings):
            _print(tail.read(path, wanted))


def matching(names: Iterable[str]) -> Wanted:
    """A predicate: does a line have one of these names as a word? With no names, every line does."""
    words = "|".join(map(re.escape, names))
    # A name must not be part of a longer one, but may end a sentence.
    pattern = re.compile(rf"(?<![\w.-])(?:{words})(?![\w-]|\.\w)" if words else "")
    return lambda line: bool(pattern.search(line))


def lines_of(path: Path, wanted: Wanted) -> Iterator[LogLine]:
    """The lines of a log whose records are wanted, each with its traceback."""
    with path.open(errors="replace") as file:
        yield from wanted_lines(path.stem, file, wanted)


def wanted_lines(log: str, lines: Iterable[str], wanted: Wanted) -> Iterator[LogLine]:
    """The `lines` that belong to a wanted record; times never go back."""
    time, taken, indented = "", False, False
    for line in lines:
        text = _COLOUR.sub("", line.rstrip("\n"))
        begins = _TIME.match(text)
        time = max(time, f"{begins[1]} {begins[2].replace(',', '.')}") if begins else time
        # The last line of a traceback, the error, is not indented.
        if begins or not (indented or _GOES_ON.match(text)):
            taken = wanted(text)
        indented = text.startswith(" ")
        if taken:
            yield LogLine(time=time, log=log, text=text)


class Tail:
    """Reads what is added to logs; a new or truncated one from its beginning.

    Args:
        read: bytes of each log already read.
    """

    def __init__(self, read: dict[Path, int]) -> None:
        self._read = read

    def read(self, path: Path, wanted: Wanted) -> list[LogLine]:
        """The new wanted lines, as far as they are complete."""
        with path.open("rb") as file:
            size, begin = file.seek(0, 2), self._read.get(path, 0)
            file.seek(begin if begin <= size else 0)
            whole = file.read().rpartition(b"\n")[0]
            self._read[path] = (begin if begin <= size else 0) + (len(whole) + 1 if whole else 0)
        return (
            list(wanted_lines(path.stem, whole.decode(errors="replace").splitlines(), wanted))
            if whole
            else []
        )


def _print(lines: Iterable[LogLine]) -> None:
    for line in lines:
        print(f"{line.log:<9} {clean(line.text)}", flush=True)


def _when(line: LogLine) -> str:
    return line.time


def _files(settings: Settings) -> list[Path]:
    """The logs of workers and gateway, including those of the previous stack."""
    folder = settings.data_dir / "logs"
    return sorted(path for name in ("worker", "gateway") for path in folder.glob(f"{name}*.log"))


async def _elsewhere(settings: Settings) -> str:
    """Where the logs are, if the workers are not this data folder's; else empty."""
    target, stack = Target.of(settings), StackAddress.find(settings)
    if not target.sure or (stack and stack.temporal == target.address):
        return ""
    try:
        client = await open_client(settings, PATIENCE)
        found = await pollers(client, settings.task_queue, TaskQueueType.TASK_QUEUE_TYPE_WORKFLOW)
        who = f": {', '.join(found.workers)}" if found.workers else ""
    except (CannotConnectError, RPCError):
        who = ""
    return (
        f"the workers of Temporal at {target.address} ({target.why}) log to their own stderr{who}; "
        "in Kubernetes `kubectl logs -l app.kubernetes.io/component=worker --prefix`."
    )


async def _names_of(settings: Settings, id: str) -> list[str]:
    """The agent's id and its first and last run ids, which some lines use instead."""
    try:
        client = await open_client(settings, PATIENCE)
        return [id, *await _runs_of(client, id)]
    except (CannotConnectError, NoSuchAgentError, RPCError):
        return [id]


async def _runs_of(client: Client, id: str) -> list[str]:
    async with for_agent(id):
        described = await client.get_workflow_handle(id).describe()
    info = described.raw_description.workflow_execution_info
    return [info.execution.run_id, info.first_run_id]
