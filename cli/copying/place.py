"""The place of a copy: its files as an object store, its databases as addresses for Litestream, and its mark.

copy.json              the mark: whose copy it is, until when it is whole, its databases
files/…                every other file of the data folder, under its own path
databases/NAME/…       what Litestream keeps of each database
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import quote, urlencode

from pydantic import AwareDatetime, BaseModel, ValidationError

from common.object_store import FolderStore, ObjectMissingError, ObjectStore
from common.settings import Settings
from common.settings.state import CopyPlace

MARK = "copy.json"
FILES = "files/"


class CopyMark(BaseModel, frozen=True):
    """What a copy says of itself. `holder` is the data folder that writes it; a restore gives it a new one.

    Everything that was committed before `until` is in it; None while the first copy is under way.
    `databases` has for each the transaction up to which every file that it refers to is there.
    """

    holder: str
    until: AwareDatetime | None = None
    databases: Mapping[str, int] = {}


class NotACopyError(Exception):
    """What is at the place is no copy, or is damaged; the message says what to do."""


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
            NotACopyError: there is something else at the place.
            StoreUnavailableError: it is out of reach.
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

    def replica(self, database: str = "") -> dict[str, str]:
        """Where Litestream keeps a database, or all of them, as its configuration says it."""
        path = f"databases/{database}".rstrip("/")
        if self.place.folder:
            # Not as an address: Litestream would take `%20` for the name of a folder.
            return {"path": str(self.place.folder / path)}
        options = {"endpoint": self.place.endpoint, "region": self.place.region}
        given = urlencode({name: value for name, value in options.items() if value})
        return {"url": f"s3://{self.place.bucket}/{quote(self.place.prefix + path)}?{given}".rstrip("?")}


def new_holder() -> str:
    """An id for a data folder that holds a copy."""
    return uuid.uuid4().hex


def _store(place: CopyPlace, settings: Settings) -> ObjectStore:
    if place.folder:
        return FolderStore(Path(place.folder))
    from common.s3_store import S3Store

    state = settings.state.but(
        s3_bucket=place.bucket, s3_prefix=place.prefix, s3_endpoint=place.endpoint, s3_region=place.region
    )
    return S3Store(settings.but(state=state), "HIBERNAUT_COPY_TO")
