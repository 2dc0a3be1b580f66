"""The archive of closed agents: its layout in the object store, and its types.

archive/v1/agents/<kind>/<id>/<run id>/record.json       what is archived of an agent, under its last run's id
archive/v1/agents/<kind>/<id>/<run id>/<SHA-256>...      its histories, payloads and final view
archive/v1/index/dt=<day it closed>/<number>.parquet     one row for each agent
archive/v1/manifests/<number>.json                       the chain: what was added and removed, in order
"""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

from pydantic import AwareDatetime, BaseModel, Field

from common.agents.states import RunStatus
from common.approval.starts import SignedStart
from common.digest import digest_bytes
from common.temporal.payload_store import segment

ROOT = "archive/v1"
AGENTS, INDEX, MANIFESTS = f"{ROOT}/agents/", f"{ROOT}/index/", f"{ROOT}/manifests/"
RECORD = "record.json"
# Beside the archive, because its chain knows nothing of what was never archived.
ERASURES = "erasures/v1/"

# The workflow that archives, and the id that lets only one at a time change the archive.
ARCHIVIST = "archivist"
ERASER = "eraser"
SCHEDULE = "archivist"


class ArchivedObject(BaseModel, frozen=True):
    """An object of the archive: its key, its size in bytes, its SHA-256."""

    key: str
    size: int
    sha256: str


class ArchivedRun(BaseModel, frozen=True):
    """One run of an agent; its history is Temporal's own JSON, gzipped."""

    run_id: str
    started_at: AwareDatetime
    events: int
    history: ArchivedObject


class IndexRow(BaseModel):
    """A row of the index: an archived agent. `sha256` is its record's, `keys` are ids of encryption keys.

    `nodes` are those it went through, `stuck_at` has entries `Login@2026-11-22`, `failure` is a type, `cost`
    is in US dollars. A row is not encrypted, so it holds nothing that anybody wrote.
    """

    id: str
    run_id: str
    kind: str
    owner: str
    batch: str = ""
    status: RunStatus
    started: AwareDatetime
    closed: AwareDatetime
    node: str = ""
    nodes: list[str] = Field(default_factory=list)
    stuck_at: list[str] = Field(default_factory=list)
    failure: str = ""
    cost: float = 0.0
    keys: list[str] = Field(default_factory=list)
    sha256: str = ""

    @property
    def day(self) -> date:
        """The row's partition: the UTC day on which the agent closed."""
        return self.closed.astimezone(UTC).date()


class ArchiveRecord(BaseModel):
    """What is archived of one agent.

    `runs` are oldest first. `payloads` maps the keys that histories refer to, to the objects that hold those
    bytes now. `missing` are keys of earlier runs whose payloads had already been swept.
    """

    id: str
    run_id: str
    kind: str
    owner: str
    namespace: str
    archived_at: AwareDatetime
    runs: list[ArchivedRun]
    view: ArchivedObject
    payloads: dict[str, ArchivedObject] = Field(default_factory=dict)
    missing: list[str] = Field(default_factory=list)

    @property
    def objects(self) -> list[ArchivedObject]:
        """All objects that the record names."""
        return [*(run.history for run in self.runs), self.view, *self.payloads.values()]


class Head(BaseModel, frozen=True):
    """The head of the chain: the number of the newest manifest, from 1, and the SHA-256 of its bytes."""

    number: int = 0
    sha256: str = ""


class Erased(BaseModel):
    """What was erased for an owner (agents, objects, artifacts), and how many agents a legal hold kept."""

    owner: str = ""
    live: int = 0
    archived: int = 0
    index_rows: int = 0
    objects: int = 0
    artifacts: int = 0
    bytes: int = 0
    held: int = 0

    def plus(self, other: Erased) -> Erased:
        """The sum of both, except `held`, which each counts anew."""
        counts = {
            name: getattr(self, name) + getattr(other, name)
            for name in Erased.model_fields
            if name not in ("owner", "held")
        }
        return Erased(owner=self.owner, held=max(self.held, other.held), **counts)


class Forgotten(Erased):
    """The account of an erasure, which is kept: counts and time; the owner only as a digest in its key."""

    at: AwareDatetime

    @staticmethod
    def prefix(owner: str) -> str:
        """The key prefix of the accounts of an owner's erasures."""
        return f"{ERASURES}{digest_bytes(owner.encode())}/"


class Manifest(BaseModel):
    """A link of the chain. `previous` is the previous manifest's SHA-256, `service` the namespace's id.

    `kinds` are those of all agents archived so far. `by` names the work that wrote it, so that a second
    attempt recognizes its own.
    """

    number: int
    previous: str
    service: str
    by: str
    at: AwareDatetime
    kinds: list[str]
    added: list[ArchivedObject]
    removed: list[str] = Field(default_factory=list)
    erased: Erased | None = None


class ArchiveReport(BaseModel):
    """What an archivist did: agents due and archived, their bytes, how many were skipped and why."""

    due: int = 0
    archived: int = 0
    bytes: int = 0
    passed_over: dict[str, int] = Field(default_factory=dict)
    swept: int = 0
    swept_bytes: int = 0
    head: Head = Head()
    due_ids: list[str] = Field(default_factory=list)


class ArchiveRequest(SignedStart):
    """An archivist's input.

    Attributes:
        older_than: overrides the settings' times.
        dry_run: report what is due and change nothing.
        anchor: the chain's head, stored in the schedule's arguments for whoever verifies the archive.
        at: when this began. The archivist sets it, and what follows, when it continues as new.
        cursor: how far the list of closed agents has been read.
        batches: batches entered so far.
        report: what was done so far.
    """

    older_than: timedelta | None = None
    dry_run: bool = False
    anchor: Head | None = None
    at: AwareDatetime | None = None
    cursor: str = ""
    batches: int = 0
    report: ArchiveReport = Field(default_factory=ArchiveReport)


class EraseRequest(SignedStart, frozen=True):
    """Whose agents to erase, and up to which start time: sent again, the same request erases no more."""

    owner: str
    until: AwareDatetime


def agent_folder(kind: str, id: str) -> str:
    """The prefix of the keys of everything archived of an agent."""
    return f"{AGENTS}{segment(kind)}/{segment(id)}/"


def run_folder(kind: str, id: str, run_id: str) -> str:
    """The prefix of the keys of everything archived of an agent that ended with this run."""
    return f"{agent_folder(kind, id)}{segment(run_id)}/"


def record_key(kind: str, id: str, run_id: str) -> str:
    """The key of an agent's record."""
    return f"{run_folder(kind, id, run_id)}{RECORD}"


def index_key(day: date, number: int) -> str:
    """The key of the rows that a manifest adds for agents that closed on a day."""
    return f"{INDEX}dt={day.isoformat()}/{number:08}.parquet"


def day_of(key: str) -> date:
    """The day in the key of an index file."""
    return date.fromisoformat(key[len(INDEX) + 3 :].partition("/")[0])


def number_of(key: str) -> int:
    """The number in the key of a manifest or an index file."""
    return int(key.rpartition("/")[2].partition(".")[0])


def manifest_key(number: int) -> str:
    """The key of a manifest."""
    return f"{MANIFESTS}{number:08}.json"


def utc_days(since: datetime, until: datetime) -> list[date]:
    """The UTC days that the time from ``since`` until before ``until`` touches."""
    first = since.astimezone(UTC).date()
    last = (until.astimezone(UTC) - timedelta(microseconds=1)).date()
    return [first + timedelta(days=number) for number in range((last - first).days + 1)]
