"""Where an agent's own objects are stored: under one prefix, by which they are found, erased and cleaned up.

artifacts/SHA-256   what its history refers to, which never changes (`artifacts.py`)
files/NAME          what it wrote for people: reports, drafts, letters (`agent_files.py`)
work/…              what it needs until it ends: journals of scans and fixes, what it has fetched
"""

from __future__ import annotations

from collections.abc import Iterable

from common.digest import digest_bytes
from common.object_store import ObjectStore, StoredObject

PREFIX = "agents/v1/"
# Stands for the agent of objects that no agent stored.
NOBODY = "-"


def agent_digest(agent: str) -> str:
    """The form of an agent's id in keys; empty for an empty id."""
    return digest_bytes(agent.encode())[:32] if agent else ""


def objects_prefix(digest: str) -> str:
    """The key prefix of all objects of the agent with that `agent_digest`."""
    return f"{PREFIX}{digest or NOBODY}/"


def artifacts_prefix(digest: str) -> str:
    """The key prefix of its artifacts."""
    return f"{objects_prefix(digest)}artifacts/"


def files_prefix(agent: str) -> str:
    """The key prefix of its files."""
    return f"{objects_prefix(agent_digest(agent))}files/"


def work_prefix(agent: str, what: str = "") -> str:
    """The key prefix of what it needs until it ends, or of one kind of that, `what`."""
    return f"{objects_prefix(agent_digest(agent))}work/{what}"


def objects_of(store: ObjectStore, agents: Iterable[str]) -> list[StoredObject]:
    """Everything that these agents have in the store, other than their payloads."""
    return [each for agent in agents for each in store.list(objects_prefix(agent_digest(agent)))]


def is_artifact(key: str) -> bool:
    """Whether a key of `objects_of` is an artifact's."""
    return key.removeprefix(PREFIX).partition("/")[2].startswith("artifacts/")


def delete_work(store: ObjectStore, agent: str, what: str = "") -> None:
    """Delete what an agent needed until it ended, or one kind of that, `what`."""
    store.delete([each.key for each in store.list(work_prefix(agent, what))])
