"""A worker that archives into a randomly failing store, and kills itself at requested steps.

A file in `kills/` named after a step makes it kill itself there, once. Every deletion of a run in Temporal is
first checked against the archive, bypassing the faults, and logged to `deletions`. A file `calm` ends faults.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[3]))

import worker
from activities.archive import removal
from activities.archive.agents import AgentArchiver
from activities.archive.erasure import Erasure
from activities.archive.ledger import ArchiveLedger
from activities.calls.interceptor import ReliableReports
from activities.delivery.notices import Notices
from activities.starts import StartChecks
from common.approval.signing import Signer
from common.archive.anchor import ArchiveAnchor
from common.archive.chain import Chain, get_checked
from common.archive.layout import RECORD, ArchiveRecord, Head
from common.lifecycle import WORKER_READY
from common.object_store import ObjectStore, StoredObject, StoreUnavailableError, open_store
from common.settings import Settings
from common.temporal.connect import connect
from common.temporal.payload_store import segment
from tests.support.agents.brief import BriefAgent
from workflows.archivist import Archivist, Eraser

FOLDER = Path(os.environ["CHAOS_FOLDER"])
CHANCE = float(os.environ["CHAOS_CHANCE"])
MAX_FAULTS = 1  # per lifetime of a worker, for each agent and each file of index and chain
DICE = random.Random(int(os.environ["CHAOS_SEED"]))


def strike(step: str) -> None:
    """Die here if this step is requested; the file goes first, so that it happens once."""
    file = FOLDER / "kills" / step
    if file.exists():
        file.rename(FOLDER / "struck" / step)
        os.kill(os.getpid(), signal.SIGKILL)


def what(key: str) -> str:
    """The kind of object that a key names."""
    if key.startswith("payloads/"):
        return "original"
    name = key.rpartition("/")[2]
    for part, kind in (("manifests/", "manifest"), ("index/", "index")):
        if part in key:
            return kind
    return "record" if name == RECORD else name.split(".")[1]


class FaultyStore(ObjectStore):
    """A store whose operations may fail, before or after taking effect; only a few times for each agent."""

    def __init__(self, inner: ObjectStore) -> None:
        self._inner = inner
        self._failed: Counter[str] = Counter()

    def put(self, key: str, data: bytes, *, if_absent: bool = False) -> bool:
        self._fail("put", key)
        strike(f"before-put-{what(key)}")
        written = self._inner.put(key, data, if_absent=if_absent)
        strike(f"after-put-{what(key)}")
        self._fail("put and answer", key)
        return written

    def get(self, key: str) -> bytes:
        self._fail("get", key)
        return self._inner.get(key)

    def head(self, key: str) -> StoredObject | None:
        self._fail("head", key)
        return self._inner.head(key)

    def list(self, prefix: str) -> Iterator[StoredObject]:
        self._fail("list", prefix)
        return self._inner.list(prefix)

    def delete(self, keys: Iterable[str]) -> None:
        keys = list(keys)
        if not keys:
            return
        self._fail("delete", keys[0])
        strike(f"before-delete-{what(keys[0])}")
        self._inner.delete(keys)
        strike(f"after-delete-{what(keys[0])}")
        self._fail("delete and answer", keys[0])

    def look(self) -> None:
        self._inner.look()

    def _fail(self, operation: str, key: str) -> None:
        # Limit the faults: consecutive ones double the retry delay, which could add up to minutes.
        of = "/".join(key.split("/")[:5])
        if (FOLDER / "calm").exists():
            return
        if DICE.random() < CHANCE and self._failed[of] < MAX_FAULTS:
            self._failed[of] += 1
            with (FOLDER / "faults").open("a") as file:
                file.write(f"{operation} {key}\n")
            raise StoreUnavailableError(f"cannot {operation} {key}: chance")


def is_safe(objects: ObjectStore, id: str, run_id: str) -> bool:
    """Whether all of this run is readable in the archive and in its chain."""
    for _, manifest in Chain(objects).all():
        for each in manifest.added:
            # Filter by key first: reading all records for every deletion would take longer than archiving.
            if f"/{segment(id)}/" not in each.key or not each.key.endswith(f"/{RECORD}"):
                continue
            record = ArchiveRecord.model_validate_json(get_checked(objects, each))
            if record.id == id and any(run.run_id == run_id for run in record.runs):
                for part in record.objects:
                    get_checked(objects, part)
                return True
    return False


async def work() -> None:
    settings = Settings.read(os.environ)
    sound = open_store(settings)
    client = await connect(settings)
    reports = ReliableReports(client)
    delete, keep = removal._delete, ArchiveAnchor.keep

    async def watched_delete(client: Any, id: str, run_id: str) -> None:
        safe = await asyncio.to_thread(is_safe, sound, id, run_id)
        with (FOLDER / "deletions").open("a") as file:
            file.write(json.dumps([id, run_id, safe]) + "\n")
        strike("before-delete-run")
        await delete(client, id, run_id)
        strike("after-delete-run")

    async def watched_keep(self: ArchiveAnchor, head: Head) -> None:
        strike("before-anchor")
        await keep(self, head)
        strike("after-anchor")

    removal._delete = watched_delete
    ArchiveAnchor.keep = watched_keep  # type: ignore[method-assign]
    objects = FaultyStore(sound)
    ledger = ArchiveLedger(client, objects, ArchiveAnchor(client, settings))
    built = worker.build(
        client,
        settings,
        reports=reports,
        workflows=[BriefAgent, Archivist, Eraser],
        objects=[
            Notices(),
            StartChecks(Signer.load(settings)),
            AgentArchiver(client, objects, settings),
            ledger,
            Erasure(client, objects, settings, ledger),
        ],
    )
    async with built:
        print(WORKER_READY, file=sys.stderr, flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(work())
