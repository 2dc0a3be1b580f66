"""What the activities of the archive take and give."""

from __future__ import annotations

from datetime import timedelta
from enum import StrEnum

from pydantic import AwareDatetime, BaseModel, Field

from common.archive.layout import ArchivedObject, Head, IndexRow


class DueRequest(BaseModel, frozen=True):
    """Asks for the next page of agents that are due at a time; `cursor` is where the last page ended."""

    at: AwareDatetime
    older_than: timedelta | None = None
    cursor: str = ""
    page: int = 200


class DueAgent(BaseModel, frozen=True):
    """An agent that closed long enough ago, by its last run."""

    id: str
    run_id: str


class DuePage(BaseModel, frozen=True):
    """Agents that are due; without a cursor there are no more pages."""

    agents: list[DueAgent]
    cursor: str = ""


class StoreRequest(BaseModel, frozen=True):
    """Asks for one agent to be copied into the archive."""

    agent: DueAgent
    at: AwareDatetime
    older_than: timedelta | None = None


class Fate(StrEnum):
    """What became of an agent that was due.

    Attributes:
        STORED: everything of it is in the archive and was read back.
        GONE: Temporal does not know it any more.
        BUSY: a newer run of its id goes on.
        HELD: it is on legal hold.
        UNANSWERED: no worker answers for it; tried again until twice its time has passed.
        DAMAGED: a payload of it is missing or cannot be read.
    """

    STORED = "stored"
    GONE = "gone"
    BUSY = "busy"
    HELD = "held"
    UNANSWERED = "unanswered"
    DAMAGED = "damaged"


class Stored(BaseModel, frozen=True):
    """What became of the agent; with its record and its row where it is stored."""

    fate: Fate
    row: IndexRow | None = None
    record: ArchivedObject | None = None
    bytes: int = 0


class SealRequest(BaseModel, frozen=True):
    """Asks for a batch to be entered in index and chain. `by` names the batch, the same at each attempt."""

    by: str
    at: AwareDatetime
    rows: list[IndexRow]
    records: list[ArchivedObject]


class Sealed(BaseModel, frozen=True):
    """The head of the chain that covers the batch, and the bytes its rows take."""

    head: Head
    bytes: int


class RecoverRequest(BaseModel, frozen=True):
    """Asks for what a kill left half done to be put right."""

    by: str


class Unfinished(BaseModel, frozen=True):
    """Records that are sealed, and whose agents may still be in Temporal."""

    head: Head
    records: list[ArchivedObject] = Field(default_factory=list)


class RemoveRequest(BaseModel, frozen=True):
    """Asks for an archived agent to be deleted from Temporal."""

    record: ArchivedObject


class Removed(BaseModel, frozen=True):
    """An agent whose runs the server was asked to delete."""

    id: str
    runs: list[str]


class Cleared(BaseModel, frozen=True):
    """An agent that is gone from Temporal with its payload objects."""

    id: str


class SweepRequest(BaseModel, frozen=True):
    """Asks for payloads to be deleted that no run refers to."""

    at: AwareDatetime


class SweepDone(BaseModel, frozen=True):
    """Objects and bytes that were deleted."""

    deleted: int
    deleted_bytes: int
