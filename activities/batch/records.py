"""What the activities of a batch take and return."""

from __future__ import annotations

from typing import Generic, TypeVar

from pydantic import BaseModel, Field, JsonValue

from common.agents.batch import BatchItem, ItemPage, ItemResult, JudgedPage, Quarantined, Work
from common.agents.batch_state import PageReport
from common.agents.fields import LocalPath
from common.approval.starts import SignedStart
from common.artifacts import ArtifactRef

Argument = TypeVar("Argument", bound=BaseModel)


class ListRequest(BaseModel, frozen=True):
    """Items to split into pages: a JSON lines artifact or a few inline; the batch has `earlier` already."""

    items: ArtifactRef | None = None
    more: tuple[BatchItem, ...] = ()
    kind: str = ""
    earlier: tuple[ArtifactRef, ...] = ()


class FileRequest(BaseModel, frozen=True):
    """A file of JSON lines, each the input of an agent of this kind; a field `id` is the item's key."""

    path: LocalPath
    kind: str


class RetryRequest(BaseModel, frozen=True):
    """The finished pages, some with quarantined items; `agents`: each item is done by an agent."""

    judged: tuple[JudgedPage, ...]
    agents: bool = False


class Retry(BaseModel, frozen=True):
    """The quarantined items in new pages, and the finished pages without their verdicts.

    ``set_aside``: up to 20 of those that no retry can help.
    """

    pages: tuple[ItemPage, ...]
    judged: tuple[JudgedPage, ...]
    set_aside: tuple[Quarantined, ...] = ()


class PageRequest(SignedStart, frozen=True):
    """The input of a page's workflow: the agent and its batch, the page's number and items, and the work."""

    parent: str
    batch: str
    number: int
    page: ItemPage
    work: Work
    width: int


class OpenRequest(BaseModel, frozen=True):
    """A page to open as the workflow `id`."""

    id: str
    request: PageRequest


class ReadRequest(BaseModel, frozen=True):
    """The items of a page."""

    items: ArtifactRef


class Items(BaseModel, frozen=True):
    """Items, in order."""

    items: tuple[BatchItem, ...]


class WriteRequest(BaseModel, frozen=True):
    """Verdicts to store for the batch of `parent`."""

    parent: str
    results: tuple[ItemResult, ...]


class ItemOf(BaseModel, Generic[Argument], frozen=True):
    """An item with its argument, typed as its activity takes it."""

    key: str
    argument: Argument


class ItemsOf(BaseModel, Generic[Argument], frozen=True):
    """Items to process in one call, in order."""

    items: tuple[ItemOf[Argument], ...]


class ItemResults(BaseModel, frozen=True):
    """Verdicts on the first of these items; the rest were not started."""

    results: tuple[ItemResult, ...]


class OpenedPage(BaseModel, frozen=True):
    """An opened page: the id of its workflow, and its last known report."""

    id: str
    page: ItemPage
    report: PageReport


class PollRequest(BaseModel, frozen=True):
    """Pages that have not reported for a long time."""

    parent: str
    pages: tuple[OpenedPage, ...]


class PollResult(BaseModel, frozen=True):
    """The last reports of those pages that have ended."""

    reports: tuple[PageReport, ...] = ()


class ItemCheck(BaseModel, frozen=True):
    """An agent to start as an item; asks whether the page's owner may start it."""

    kind: str
    input: dict[str, JsonValue] = Field(default_factory=dict)


class CheckedItem(BaseModel, frozen=True):
    """The agent may be started; `subject` says in a few words what it is about, if known."""

    subject: str | None = None


class Gathered(BaseModel, frozen=True):
    """Every verdict so far, as one artifact of JSON lines."""

    results: ArtifactRef
    count: int


class GatherRequest(BaseModel, frozen=True):
    """The verdicts of finished pages, and the workflow ids of open ones."""

    judged: tuple[ArtifactRef, ...]
    open: tuple[str, ...] = ()
