"""The arguments and results of the archive's activities."""

from __future__ import annotations

from datetime import timedelta
from enum import StrEnum

from pydantic import AwareDatetime, BaseModel, Field

from common.archive.layout import ArchivedObject, Head, IndexRow


class DueRequest(BaseModel, frozen=True):
    """Asks for the next page of agents that are due at time `at`; `cursor` continues after the last page."""

    at: AwareDatetime
    older_than: timedelta | None = None
    cursor: str = ""
    page: int = 200


class DueAgent(BaseModel, frozen=True):
    """An agent that closed long enough ago, and its last run."""

    id: str
    run_id: str


class DuePage(BaseModel, frozen=True):
    """Agents that are due. The last page has no cursor."""

    agents: list[DueAgent]
    cursor: str = ""


class StoreRequest(BaseModel, frozen=True):
    """Asks for one agent to be copied into the archive."""

    agent: DueAgent
    at: AwareDatetime
    older_than: timedelta | None = None


class StoreOutcome(StrEnum):
    """What became of an agent that was due.

    Attributes:
        STORED: all of it is in the archive and was read back.
        GONE: Temporal no longer knows it.
        BUSY: a newer run of its id is open.
        HELD: it is on legal hold.
        UNANSWERED: no worker answers its queries; tried again until twice its TTL has passed.
        DAMAGED: one of its payloads is missing or cannot be read.
    """

    STORED = "stored"
    GONE = "gone"
    BUSY = "busy"
    HELD = "held"
    UNANSWERED = "unanswered"
    DAMAGED = "damaged"


class Stored(BaseModel, frozen=True):
    """What became of the agent, with its record and row if it was stored."""

    fate: StoreOutcome
    row: IndexRow | None = None
    record: ArchivedObject | None = None
    bytes: int = 0


class EnterRequest(BaseModel, frozen=True):
    """Asks for a batch to be entered into index and chain. `by` identifies it; retries use the same value."""

    by: str
    at: AwareDatetime
    rows: list[IndexRow]
    records: list[ArchivedObject]


class Entered(BaseModel, frozen=True):
    """The head of the chain that includes the batch, and the bytes of its rows."""

    head: Head
    bytes: int


class RecoverRequest(BaseModel, frozen=True):
    """Asks to finish what a killed archivist left half done."""

    by: str


class Unfinished(BaseModel, frozen=True):
    """Records that were entered, but whose agents may still be in Temporal."""

    head: Head
    records: list[ArchivedObject] = Field(default_factory=list)


class RemoveRequest(BaseModel, frozen=True):
    """Asks for an archived agent to be deleted from Temporal."""

    record: ArchivedObject


class Removed(BaseModel, frozen=True):
    """An agent whose runs the server has been asked to delete."""

    id: str
    runs: list[str]


class Cleared(BaseModel, frozen=True):
    """An agent that is gone from Temporal, as are its payload objects."""

    id: str


class SweepRequest(BaseModel, frozen=True):
    """Asks to delete the payloads that no run refers to."""

    at: AwareDatetime


class SweepDone(BaseModel, frozen=True):
    """The numbers of objects and bytes that were deleted."""

    deleted: int
    deleted_bytes: int
