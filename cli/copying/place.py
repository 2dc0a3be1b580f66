"""The place of a copy: its files as an object store, its databases as addresses for Litestream, and its mark.

copy.json                    the mark: whose copy it is, up to when it is complete, its databases
files/…                      every other file of the data folder, under its own path
databases/GENERATION/NAME/…  Litestream's copy of a database; each process of it writes its own generation
"""

from __future__ import annotations

import re
import secrets
import uuid
from collections.abc import Collection, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import quote, urlencode

from pydantic import AwareDatetime, BaseModel, ValidationError

from common.object_store import FolderStore, ObjectMissingError, ObjectStore
from common.settings import Settings
from common.settings.state import CopyPlace

MARK = "copy.json"
FILES = "files/"
DATABASES = "databases/"
# How long a database's past and deleted files are kept.
RETENTION = timedelta(hours=24)
MAX_EARLIER = 3
# Litestream names its files after the transactions in them.
_TRANSACTIONS = re.compile(r"/[0-9a-f]{16}-([0-9a-f]{16})\.ltx\Z")
# How long after its last transaction a file is written at most, if it spans half a minute.
_WRITTEN_WITHIN = timedelta(minutes=1)


class CompleteState(BaseModel, frozen=True):
    """A complete state of a copy: this generation has everything committed before `until`.

    `databases` maps each database to the transaction up to which all files it refers to are in the copy.
    `proven` is when it last passed a restore test.
    """

    generation: str = ""
    until: AwareDatetime | None = None
    databases: Mapping[str, int] = {}
    proven: AwareDatetime | None = None


class CopyMark(CompleteState, frozen=True):
    """The mark of a copy. `holder` is the data folder that writes it; a restore gives it a new one.

    The inherited fields describe its latest complete state; they are empty while the first copy is under way.
    `earlier` are the previous generations, newest first.
    """

    holder: str
    earlier: tuple[CompleteState, ...] = ()

    def succeeded_by(self, state: CompleteState, wrong: Collection[str]) -> CopyMark:
        """The next mark, once the copy is complete again in this or a new generation.

        Args:
            state: its state now.
            wrong: generations that failed their restore tests.

        Earlier generations are kept for a day; the last proven one is kept until this one is proven.
        """
        now = state.until or datetime.now(UTC)
        past = self.earlier if state.generation == self.generation else (self._state(), *self.earlier)
        past = tuple(each for each in past if each.until and each.generation not in wrong)
        young = [each for each in past if each.until and now - each.until < RETENTION][:MAX_EARLIER]
        sound = None if state.proven else next((each for each in past if each.proven), None)
        earlier = tuple(each for each in past if each in young or each is sound)
        return CopyMark(holder=self.holder, earlier=earlier, **dict(state))

    def generations(self) -> set[str]:
        """The generations that are kept."""
        return {self.generation, *(each.generation for each in self.earlier)}

    def _state(self) -> CompleteState:
        return CompleteState(**{name: getattr(self, name) for name in CompleteState.model_fields})


class NotACopyError(Exception):
    """What is at the place is not a copy, or is damaged; the message says what to do."""


class OpenPlace:
    """A place of a copy, with the means to reach it."""

    def __init__(self, place: CopyPlace, settings: Settings) -> None:
        self.place = place
        self.store = _store(place, settings)

    def __str__(self) -> str:
        return str(self.place)

    def mark(self) -> CopyMark | None:
        """The mark; None where there is no copy.

        Raises:
            NotACopyError: the place holds something else.
            StoreUnavailableError: the place is out of reach.
        """
        try:
            return CopyMark.model_validate_json(self.store.get(MARK))
        except ValidationError:
            raise NotACopyError(f"{self}/{MARK} is not the mark of a copy: name another place") from None
        except ObjectMissingError:
            if next(iter(self.store.list("")), None) is not None:
                raise NotACopyError(f"{self} holds other things: name an empty place") from None
            return None

    def put(self, mark: CopyMark) -> None:
        """Write the mark."""
        self.store.put(MARK, mark.model_dump_json().encode())

    def states(self, generation: str, database: str) -> dict[int, datetime]:
        """The transactions a database can be restored to, each with a time that is surely before it.

        Raises:
            StoreUnavailableError: the place is out of reach.
        """
        found: dict[int, datetime] = {}
        for each in self.store.list(f"{_database_path(generation, database)}/"):
            if named := _TRANSACTIONS.search(each.key):
                last, at = int(named[1], 16), each.written_at - _WRITTEN_WITHIN
                found[last] = min(at, found.get(last, at))
        return found

    def generations(self) -> list[str]:
        """The generations found at the place, newest first."""
        found = {each.key.removeprefix(DATABASES).partition("/")[0] for each in self.store.list(DATABASES)}
        return sorted(found, reverse=True)

    def keep_only(self, generations: Collection[str], newest: str) -> None:
        """Delete all other generations that are older than `newest`."""
        for each in self.generations():
            if each < newest and each not in generations:
                self.store.delete(found.key for found in list(self.store.list(f"{DATABASES}{each}/")))

    def replica(self, generation: str, database: str = "") -> dict[str, str]:
        """Litestream's setting for where it keeps a database, or all of them."""
        path = _database_path(generation, database)
        if self.place.folder:
            # A path, not a URL: Litestream would take `%20` literally.
            return {"path": str(self.place.folder / path)}
        options = {"endpoint": self.place.endpoint, "region": self.place.region}
        given = urlencode({name: value for name, value in options.items() if value})
        return {"url": f"s3://{self.place.bucket}/{quote(self.place.prefix + path)}?{given}".rstrip("?")}


def new_generation() -> str:
    """The name of a generation that begins now; later ones sort after it."""
    return f"{datetime.now(UTC):%Y%m%dT%H%M%S%f}-{secrets.token_hex(3)}"


def new_holder() -> str:
    """An id for a data folder that keeps a copy."""
    return uuid.uuid4().hex


def _store(place: CopyPlace, settings: Settings) -> ObjectStore:
    if place.folder:
        return FolderStore(Path(place.folder))
    from common.s3_store import S3Store

    state = settings.state.but(
        s3_bucket=place.bucket, s3_prefix=place.prefix, s3_endpoint=place.endpoint, s3_region=place.region
    )
    return S3Store(settings.but(state=state), "HIBERNAUT_COPY_TO")


def _database_path(generation: str, database: str) -> str:
    return DATABASES + "/".join(each for each in (generation, database) if each)
