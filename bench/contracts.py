"""Contracts a minute: the auditor beside the same readers and rules in a plain pool, over the same files.

The pool reads in its own processes, without limits or a trace; the auditor reads and judges each contract in
processes with limits, and Temporal keeps the outcome of each. Both have eight slots. The pool runs before and
after, and the mean counts, since other load on the machine varies. The last line is JSON.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
from concurrent.futures import ProcessPoolExecutor
from functools import lru_cache
from pathlib import Path
from time import perf_counter
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from temporalio.client import Client

from activities.contracts.audit import Auditor
from activities.contracts.listing import media_type_of
from activities.contracts.playbook import default_playbook
from activities.documents.reader_entry import structure
from activities.documents.structure import StructuredDocument
from bench.harness import end_with, measured
from bench.histories import kept_of_batch
from bench.usage import cpu_of_all, peak_memory
from cli.children import end_child, start_child
from cli.dev_server import DevServer
from common.agents.agent import Notebook
from common.agents.contracts import ContractsInput, ContractsResult
from common.approval.floors import write_alone
from common.approval.signing import Signer
from common.client.client import AgentClient
from common.settings import Settings
from common.temporal.connect import connect
from testing.fixtures import open_all
from tests.support.contracts.formats import write_contracts

ROOT = Path(__file__).parents[1]
SLOTS = 8
LEAST = 0.8
WARM = 16
KINDS = {".docx": "docx", ".pdf": "pdf", ".html": "html", ".md": "markdown", ".txt": "text"}


@lru_cache(1)
def auditor() -> Auditor:
    """The rules, loaded once per process."""
    return Auditor(default_playbook())


def read_and_judge(path: str) -> str:
    """Do what the auditor does with a contract, and nothing else."""
    data, claimed = Path(path).read_bytes(), media_type_of(path) or ""
    argument = {"kind": KINDS[Path(path).suffix], "media_type": claimed, "charset": None, "pages": 2000}
    document = StructuredDocument.model_validate_json(structure(data, argument))
    return auditor().audit(path, "", document).model_dump_json()


def in_a_pool(paths: list[str]) -> tuple[float, float]:
    """Wall-clock and CPU seconds of a plain, warm pool."""
    with ProcessPoolExecutor(SLOTS) as pool:
        list(pool.map(read_and_judge, paths[:WARM]))
        used, start = cpu_of_all([os.getpid()]), perf_counter()
        list(pool.map(read_and_judge, paths))
        return perf_counter() - start, cpu_of_all([os.getpid()]) - used


async def bench(folder: Path, count: int, length: int) -> dict[str, Any]:
    """The figures for `count` contracts."""
    contracts, few, data = folder / "contracts", folder / "few", folder / "data"
    names = list(write_contracts(contracts, count, length=length))
    write_contracts(few, WARM, length=length)
    paths = [str(contracts / name) for name in names]
    size = await asyncio.to_thread(lambda: sum(Path(path).stat().st_size for path in paths))
    open_all(data)
    settings = Settings.read({"HIBERNAUT_DATA_DIR": str(data)})
    write_alone(settings)
    signer = Signer.load(settings, create=True)
    before, used_before = await asyncio.to_thread(in_a_pool, paths)
    async with DevServer(settings, ui_port=None) as server:
        os.environ["TEMPORAL_ADDRESS"] = server.address
        environment = {**os.environ, "HIBERNAUT_DATA_DIR": str(data)}
        worker = await start_child(
            [sys.executable, str(ROOT / "worker.py")], environment=environment, log=folder / "worker.log"
        )
        client = await connect(settings)
        agents = AgentClient(client, settings, signer)
        await audited(client, agents, few)
        used, used_by_server = cpu_of_all([worker.pid]), cpu_of_all([server.pid])
        async with peak_memory(worker.pid) as peak:
            id, durable = await audited(client, agents, contracts)
        used, used_by_server = cpu_of_all([worker.pid]) - used, cpu_of_all([server.pid]) - used_by_server
        kept = await kept_of_batch(client, id)
        await end_child(worker, 30)
    after, used_after = await asyncio.to_thread(in_a_pool, paths)
    pool, used_by_pool = (before + after) / 2, (used_before + used_after) / 2
    return {
        "contracts": count,
        "bytes_each": size // count,
        "slots": SLOTS,
        "pool_per_minute": round(60 * count / pool),
        "pool_seconds": [round(before, 1), round(after, 1)],
        "auditor_per_minute": round(60 * count / durable),
        "auditor_seconds": round(durable, 1),
        "ratio": round(pool / durable, 3),
        "pool_cpu_ms_each": round(1000 * used_by_pool / count, 1),
        "worker_cpu_ms_each": round(1000 * used / count, 1),
        "server_cpu_ms_each": round(1000 * used_by_server / count, 1),
        "events_each": round(kept.events / count, 2),
        "history_bytes_each": round(kept.bytes / count),
        "worker_mb_most": peak.megabytes,
    }


async def audited(client: Client, agents: AgentClient, folder: Path) -> tuple[str, float]:
    """Run the auditor; its id, and seconds from the first contract begun to the last verdict."""
    input = ContractsInput(folder=str(folder), at_once=SLOTS, decide=False)
    id = await agents.start("contract-auditor", input, owner="local")
    handle = client.get_workflow_handle(id)
    result = ContractsResult.model_validate(await handle.result())
    assert result.quarantined == 0
    lines = (await handle.query("notebook", result_type=Notebook)).entries
    [begun] = [each.at for each in lines if each.text.startswith("a batch of")]
    [ended] = [each.at for each in lines if each.text == "the batch is done"]
    return id, (ended - begun).total_seconds()


def main() -> int:
    """Run it; the exit code is 1 if the auditor reaches less than `LEAST` of the pool's pace."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--contracts", type=int, default=200)
    parser.add_argument("--length", type=int, default=120, help="paragraphs of each; 120 are some nine pages")
    parser.add_argument("--limit", type=float, default=1800)
    options = parser.parse_args()
    report = measured(lambda folder: bench(folder, options.contracts, options.length), options.limit)
    print(json.dumps(report))
    return 0 if report["ratio"] >= LEAST else 1


if __name__ == "__main__":
    end_with(main)
