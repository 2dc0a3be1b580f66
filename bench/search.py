"""What a search in the archive costs: a synthetic index in the real layout, by the archiver's own writer.

Agents of a hundred days got stuck here and there. The query asks who got stuck at one node on one day,
halfway back. Sizes are those of the index and of stored agents, compared with the histories as raw JSON.
"""

from __future__ import annotations

import argparse
import asyncio
import gzip
import json
import random
import statistics
import sys
import tempfile
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from time import perf_counter

import psutil

sys.path.insert(0, str(Path(__file__).parents[1]))

from bench.harness import end_with
from common.agents.agent import NotebookEntry
from common.agents.states import RunStatus
from common.archive.index import ArchiveIndex, IndexQuery, pack_rows
from common.archive.layout import ArchivedObject, ArchivedRun, ArchiveRecord, IndexRow, day_of
from common.archive.reader import pack
from common.client.view import AgentView
from common.object_store import FolderStore
from common.settings import Settings
from common.temporal.connect import data_converter

DAYS = 100
BATCH = 200
ASKED = 5
NODES = ("Plan", "Login", "Download", "Extract", "Approval", "Act", "Report")
START = datetime(2026, 1, 1, tzinfo=UTC)
HISTORY = Path(__file__).parents[1] / "tests" / "replay" / "histories" / "code-auditor-approved.json"


def rows_of(runs: int) -> Iterator[IndexRow]:
    """Agents in the order they closed, the same in each run."""
    chance = random.Random(1)  # noqa: S311 -- made-up data
    for number in range(runs):
        closed = START + timedelta(days=DAYS) * number / runs
        stuck = (
            {f"{chance.choice(NODES)}@{closed - timedelta(days=1):%Y-%m-%d}"} if number % 5 == 0 else set()
        )
        yield IndexRow(
            id=f"errand-{chance.getrandbits(32):08x}",
            run_id=str(uuid.UUID(int=chance.getrandbits(128))),
            kind="errand",
            owner=f"u-{chance.randrange(500)}",
            status=RunStatus.COMPLETED if number % 10 else RunStatus.FAILED,
            started=closed - timedelta(days=3),
            closed=closed,
            node="Report",
            nodes=sorted(NODES),
            stuck_at=sorted(stuck),
            failure="" if number % 10 else "PathMissing",
            cost=round(chance.random(), 4),
            keys=["k1-0a1b2c3d"],
            sha256=f"{chance.getrandbits(256):064x}",
        )


def write(objects: FolderStore, runs: int) -> int:
    """Write the index in as many manifests as an archivist would; return its bytes."""
    size, batch, number = 0, list[IndexRow](), 1
    for row in rows_of(runs):
        batch.append(row)
        if len(batch) == BATCH:
            size += _put(objects, batch, number)
            batch, number = [], number + 1
    return size + (_put(objects, batch, number) if batch else 0)


def _put(objects: FolderStore, batch: list[IndexRow], number: int) -> int:
    size = 0
    for key, data in pack_rows(batch, number):
        objects.put(key, data)
        size += len(data)
    return size


async def bytes_of_one(folder: Path) -> tuple[int, int]:
    """Stored bytes of one recorded agent, including its record, and of its history as raw JSON."""
    converter = data_converter(Settings.read({"HIBERNAUT_DATA_DIR": str(folder)}))
    events = json.loads(HISTORY.read_text())
    raw = json.dumps(events, separators=(",", ":")).encode()
    notes = [NotebookEntry(at=START, node=node, text=f"entered {node}") for node in NODES for _ in range(3)]
    row = next(rows_of(1))
    view = AgentView(
        id=row.id, run_id=row.run_id, kind=row.kind, owner=row.owner, status=row.status, state=row.status,
        node=row.node, waiting_for=None, wake_at=None, started_at=row.started, closed_at=row.closed,
        live=True, notebook=notes, result={"findings": 12, "report": "reports/x"},
    )  # fmt: skip
    packed = await pack(converter, "default", row.id, view.model_dump_json().encode())
    key = f"archive/v1/agents/errand/{row.id}/{row.run_id}/{row.sha256}"
    history = ArchivedObject(
        key=f"{key}.history.json.gz", size=len(gzip.compress(raw, mtime=0)), sha256=row.sha256
    )
    record = ArchiveRecord(
        id=row.id,
        run_id=row.run_id,
        kind=row.kind,
        owner=row.owner,
        namespace="default",
        archived_at=row.closed,
        runs=[
            ArchivedRun(
                run_id=row.run_id, started_at=row.started, events=len(events["events"]), history=history
            )
        ],
        view=ArchivedObject(key=f"{key}.view", size=len(packed), sha256=row.sha256),
    )
    return len(record.model_dump_json()) + history.size + len(packed), len(raw)


def bench(runs: int, folder: Path) -> dict[str, float]:
    """The figures for an index of `runs` agents."""
    objects = FolderStore(folder / "objects")
    index_bytes = write(objects, runs)
    index, process = ArchiveIndex(objects), psutil.Process()
    day = START + timedelta(days=DAYS // 2)
    query = IndexQuery(since=day, stuck=(f"Login@{day:%Y-%m-%d}",))
    seconds, found = [], list[IndexRow]()
    for _ in range(ASKED):
        began = perf_counter()
        found = index.find(query)
        seconds.append(perf_counter() - began)
    expected = sum(f"Login@{day:%Y-%m-%d}" in row.stuck_at for row in rows_of(runs))
    if len(found) != expected:
        raise SystemExit(f"found {len(found)} of {expected}")
    stored, raw = asyncio.run(bytes_of_one(folder))
    return {
        "runs": runs,
        "found": len(found),
        "files_read": len(index.files(day)),
        "days_pruned": len(
            {day_of(key) for key in index.files()} - {day_of(key) for key in index.files(day)}
        ),
        "query_seconds": round(statistics.median(seconds), 3),
        "first_query_seconds": round(seconds[0], 3),
        "memory_mb": round(process.memory_info().rss / 1e6, 1),
        "bytes_per_agent": round(stored + index_bytes / runs),
        "index_bytes_per_agent": round(index_bytes / runs, 1),
        "history_json_bytes_per_agent": raw,
    }


def main() -> int:
    """Parse the options, run, print one line of JSON, and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--runs", type=int, default=100_000, help="archived agents in the index")
    options = parser.parse_args()
    if options.runs < 1:
        parser.error("give 1 or more runs")
    with tempfile.TemporaryDirectory(prefix="hibernaut-bench-") as folder:
        report = bench(options.runs, Path(folder))
    print(json.dumps(report))
    return 0


if __name__ == "__main__":
    end_with(main)
