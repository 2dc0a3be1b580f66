"""A database that is written without pause, copied by Litestream, and brought back: it must be what it was.

Each round writes to a database as Temporal's server does, with SQLite's own checkpoints, while it is copied
as by `dev`; in every other round Litestream is killed twice meanwhile. Then the database is restored from the
copy and compared row by row. The last line of the output is JSON.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import shutil
import sqlite3
import sys
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from itertools import zip_longest
from pathlib import Path
from time import monotonic, sleep
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from bench.harness import ROOT, add_common_options, bounded, end_with, measured
from cli.children import start_child
from cli.copying.keeper import CopyKeeper, open_copy
from cli.copying.restore import restore_copy
from cli.output import CommandError
from common.settings import Settings
from common.temporal.codec import DATABASE
from testing.waiting import eventually

KILLS = 2
# Delays as in `dev`, and shorter and longer ones.
STARTED_AGAIN_AFTER = (0.05, 0.5, 1.0)
WHOLE_WITHIN = 120.0
STOP = "stop"
SCHEMA = """
CREATE TABLE executions (shard INTEGER, workflow TEXT, run BLOB, version INTEGER, data BLOB,
    PRIMARY KEY (shard, workflow, run));
CREATE TABLE tasks (shard INTEGER, id INTEGER, data BLOB, PRIMARY KEY (shard, id));
CREATE TABLE nodes (tree BLOB, id INTEGER, data BLOB, PRIMARY KEY (tree, id));
"""


def write(file: str, seed: int, pause: float) -> None:
    """Write transactions until a file named `stop` appears beside the database."""
    chance = random.Random(seed)  # noqa: S311 - it has to repeat
    runs: list[bytes] = []
    with closing(sqlite3.connect(file, timeout=20, isolation_level=None)) as database:
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("PRAGMA synchronous = NORMAL")
        database.executescript(SCHEMA)
        number = 0
        while not Path(file).with_name(STOP).exists():
            database.execute("BEGIN IMMEDIATE")
            if len(runs) < 50 or chance.random() < 0.05:
                runs.append(chance.randbytes(16))
                row = (chance.randrange(4), f"agent-{len(runs)}", runs[-1], chance.randbytes(3000))
                database.execute("INSERT INTO executions VALUES (?, ?, ?, 0, ?)", row)
            if len(runs) > 300:
                ended = runs.pop(chance.randrange(len(runs)))
                database.execute("DELETE FROM executions WHERE run = ?", (ended,))
            run, state = chance.choice(runs), chance.randbytes(chance.randrange(500, 6000))
            changed = "UPDATE executions SET version = version + 1, data = ? WHERE run = ?"
            database.execute(changed, (state, run))
            for _ in range(3):
                number += 1
                task = (chance.randrange(4), number, chance.randbytes(200))
                database.execute("INSERT INTO tasks VALUES (?, ?, ?)", task)
            database.execute("DELETE FROM tasks WHERE id < ?", (number - chance.randrange(30, 400),))
            event = chance.randbytes(chance.randrange(100, 2000))
            database.execute("INSERT INTO nodes VALUES (?, ?, ?)", (run, number, event))
            database.execute("COMMIT")
            # Temporal's server would wait for the disk instead.
            sleep(chance.expovariate(1 / pause))


def rows(file: Path) -> Iterator[tuple[Any, ...]]:
    """Yield a database's integrity check, then its rows."""
    with closing(sqlite3.connect(file)) as database:
        yield from database.execute("PRAGMA integrity_check")
        for table in ("executions", "tasks", "nodes"):
            yield from database.execute(f"SELECT * FROM {table}")  # noqa: S608


async def one_round(folder: Path, chance: random.Random, seconds: float, kills: int) -> str:
    """Write, copy, restore; return the outcome."""
    data, back = folder / "data", folder / "back"
    data.mkdir(parents=True)
    back.mkdir()
    file = data / DATABASE
    to = {"HIBERNAUT_DATA_DIR": str(data), "HIBERNAUT_COPY_TO": str(folder / "copy")}
    settings = Settings.read(to)
    words = f"from bench.copies import write; write({str(file)!r}, {chance.randrange(2**30)}, 0.003)"
    writer = await start_child(
        [sys.executable, "-c", words], environment={"PYTHONPATH": str(ROOT)}, log=folder / "writer.log"
    )
    await eventually(file.exists)
    keeper = await open_copy(settings)
    assert keeper
    await keeper.program.start()
    keeping = asyncio.create_task(keeper.keep())
    try:
        for number in range(kills + 1):
            await asyncio.sleep(seconds * chance.uniform(0.5, 1.5) / (kills + 1))
            if number < kills and keeper.program.process:
                keeper.program.process.kill()
                await keeper.program.wait()
                await asyncio.sleep(chance.choice(STARTED_AGAIN_AFTER))
                await keeper.program.start()
        (data / STOP).touch()
        await writer.wait()
        await _whole(keeper)
    finally:
        keeping.cancel()
        await asyncio.gather(keeping, return_exceptions=True)
        await keeper.program.stop()
        if writer.returncode is None:
            writer.kill()
            await writer.wait()
    assert settings.state.copy_to
    try:
        await restore_copy(Settings.read({"HIBERNAUT_DATA_DIR": str(back)}), settings.state.copy_to)
    except CommandError as error:
        print(error, file=sys.stderr)
        return "not_brought_back"
    same = all(one == other for one, other in zip_longest(rows(file), rows(back / DATABASE)))
    return "same" if same else "other"


async def _whole(keeper: CopyKeeper) -> None:
    now, end = datetime.now(UTC), monotonic() + WHOLE_WITHIN
    while keeper.complete_at < now:
        assert monotonic() < end, "the copy does not get whole"
        await asyncio.sleep(0.2)


async def bench(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Run all rounds, some concurrently."""
    gate, count = asyncio.Semaphore(options.at_once), dict.fromkeys(("same", "other", "not_brought_back"), 0)

    async def gated(number: int) -> None:
        async with gate:
            chance = random.Random(f"{options.seed}/{number}")  # noqa: S311 - it has to repeat
            place = folder / str(number)
            count[await one_round(place, chance, options.seconds, KILLS * (number % 2))] += 1
            await asyncio.to_thread(shutil.rmtree, place)

    async with bounded(options.limit), asyncio.TaskGroup() as group:
        for number in range(options.rounds):
            group.create_task(gated(number))
    return {"rounds": options.rounds, "kills": options.rounds // 2 * KILLS, **count, "seed": options.seed}


def main() -> int:
    """Parse the options, run, print the report, and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rounds", type=int, default=50)
    parser.add_argument("--at-once", type=int, default=3, help="rounds")
    parser.add_argument("--seconds", type=float, default=6, help="of writing in each round")
    add_common_options(parser, limit=3600)
    options = parser.parse_args()
    print(f"seed {options.seed}", file=sys.stderr, flush=True)
    report = measured(lambda folder: bench(options, folder), options.limit, f", seed {options.seed}")
    print(json.dumps(report))
    return 0 if report["same"] == options.rounds else 1


if __name__ == "__main__":
    end_with(main)
