"""Files that agents write for people: at the path given, and the same bytes in the object store.

The path is on the machine of whichever worker wrote the file. Every entry point can read the object store.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator
from pathlib import Path

from temporalio import activity

from common.agent_objects import files_prefix
from common.files import write_atomically
from common.object_store import ObjectMissingError, ObjectStore, StoreUnavailableError
from common.sealed_store import SealedStore
from common.settings import Settings

# A report of 50,000 files has 100 MB; in pieces of this size it is never in memory as a whole.
PART_BYTES = 1_000_000
FIRST = "/000000"


class AgentFiles:
    """The files of all agents, in `objects`, each in parts `NAME/NUMBER`."""

    def __init__(self, objects: ObjectStore) -> None:
        self._objects = objects

    @classmethod
    def of(cls, settings: Settings) -> AgentFiles:
        """The files of these settings, encrypted if payloads are."""
        return cls(SealedStore.open(settings))

    def write(self, path: Path, data: bytes | Iterable[bytes], mode: int = 0o600) -> None:
        """Write a file of the activity's agent, completely or not at all, here and then in the store."""
        write_atomically(path, data, mode)
        prefix = f"{files_prefix(activity.info().workflow_id or '')}{path.name}/"
        parts = {f"{prefix}{place:06}": place for place in range(-(-path.stat().st_size // PART_BYTES) or 1)}
        with path.open("rb") as file:
            # The first part last: the file exists once it is there.
            for key, place in reversed(parts.items()):
                file.seek(place * PART_BYTES)
                self._objects.put(key, file.read(PART_BYTES))
        # Delete further parts of a longer file that had this name before.
        self._objects.delete([each.key for each in self._objects.list(prefix) if each.key not in parts])

    def names(self, agent: str) -> list[str]:
        """The names of an agent's files, sorted."""
        prefix = files_prefix(agent)
        keys = (each.key.removeprefix(prefix) for each in self._objects.list(prefix))
        return sorted(key.removesuffix(FIRST) for key in keys if key.endswith(FIRST))

    async def listed(self, agent: str) -> list[str]:
        """The same; empty while they cannot be listed, because pages are useful without them."""
        try:
            return await asyncio.to_thread(self.names, agent)
        except StoreUnavailableError:
            return []

    def read(self, agent: str, name: str) -> Iterator[bytes]:
        """A file of an agent, part by part.

        Raises:
            ObjectMissingError: it has no file of that name.
            StoreUnavailableError: the store cannot be read now.
        """
        # Listed by agent, not by name, which may be any text.
        whole = f"{files_prefix(agent)}{name}"
        listed = [each.key for each in self._objects.list(files_prefix(agent))]
        if f"{whole}{FIRST}" not in listed:
            raise ObjectMissingError(f"the agent has no file {name}")
        parts = [key for key in listed if key.rpartition("/")[0] == whole]
        return map(self._objects.get, parts)
