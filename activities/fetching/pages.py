"""What each agent has fetched: one entry per agent and address, so that no node fetches a page again."""

from __future__ import annotations

from pydantic import AwareDatetime, BaseModel, ValidationError

from activities.fetching.addresses import normalise
from common.agent_objects import work_prefix
from common.artifacts import ArtifactRef
from common.digest import digest_bytes
from common.object_store import ObjectMissingError, ObjectStore


class Download(BaseModel, frozen=True):
    """The last fetch of an address: where redirects led, and the decompressed body as an artifact."""

    url: str
    final_url: str
    status: int
    media_type: str
    charset: str | None
    raw: ArtifactRef
    etag: str
    last_modified: str
    fetched_at: AwareDatetime


class PageStore:
    """The entries of all agents, in the object store so that all workers share them."""

    def __init__(self, objects: ObjectStore) -> None:
        self._objects = objects

    def find(self, agent: str, url: str) -> Download | None:
        """What `agent` fetched from `url`; None if nothing, or if the entry cannot be read."""
        try:
            return Download.model_validate_json(self._objects.get(_key(agent, url)))
        except (ObjectMissingError, ValidationError):
            return None

    def keep(self, agent: str, download: Download) -> None:
        """Store it under the requested address and the one that redirects led to."""
        data = download.model_dump_json().encode()
        for url in {download.url, normalise(download.final_url)}:
            self._objects.put(_key(agent, url), data)


def _key(agent: str, url: str) -> str:
    return f"{work_prefix(agent, 'pages/')}{digest_bytes(url.encode())[:32]}"
