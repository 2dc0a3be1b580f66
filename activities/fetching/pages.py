"""What each agent has fetched: one entry per agent and address, so that no node fetches it again."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

from pydantic import AwareDatetime, BaseModel, ValidationError

from activities.fetching.addresses import normalised
from common.artifacts import ArtifactRef, write_atomically
from common.digest import digest_bytes
from common.errors import retry_after
from common.settings import Settings


class Download(BaseModel, frozen=True):
    """The last fetch of an address: where redirects led, and the unpacked body in the artifact store."""

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
    """A folder of entries, with a folder for each agent."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @classmethod
    def of(cls, settings: Settings) -> PageStore:
        """The store in the data folder, which all workers share."""
        return cls(settings.data_dir / "fetching" / "pages")

    def find(self, agent: str, url: str) -> Download | None:
        """What `agent` fetched from `url`; None where it has not, or the entry cannot be read."""
        try:
            return Download.model_validate_json(self._file(agent, url).read_bytes())
        except (FileNotFoundError, ValidationError):
            return None

    def keep(self, agent: str, download: Download) -> None:
        """Store it under the address asked for and the one that redirects led to."""
        data = download.model_dump_json().encode()
        for url in {download.url, normalised(download.final_url)}:
            write_atomically(self._file(agent, url), data)

    def forget(self, agent: str) -> None:
        """Delete all entries of an agent; their bodies stay in the artifact store."""
        shutil.rmtree(self._of(agent), ignore_errors=True)

    @contextlib.contextmanager
    def lock(self, agent: str, url: str) -> Iterator[None]:
        """Keep others from fetching the same address for the same agent; released if the process dies.

        Raises:
            ApplicationError: type `BeingFetched`, to be tried again in two seconds.
        """
        file = self._file(agent, url).with_suffix(".lock")
        file.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise retry_after("BeingFetched", f"{url} is being fetched", timedelta(seconds=2)) from None
            yield
        finally:
            os.close(handle)

    def _of(self, agent: str) -> Path:
        return self._folder / digest_bytes(agent.encode())[:32]

    def _file(self, agent: str, url: str) -> Path:
        return self._of(agent) / f"{digest_bytes(url.encode())[:32]}.json"
