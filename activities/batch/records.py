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
    """Items to bring into pages: an artifact of JSON lines, or a few; `earlier` are those the batch has."""

    items: ArtifactRef | None = None
    more: tuple[BatchItem, ...] = ()
    kind: str = ""
    earlier: tuple[ArtifactRef, ...] = ()


class FileRequest(BaseModel, frozen=True):
    """A file of JSON lines, each the input of an agent of this kind; a field `id` names the item."""

    path: LocalPath
    kind: str


class RetryRequest(BaseModel, frozen=True):
    """The pages that have ended, with what they quarantined; `agents`: their items are done by agents."""

    judged: tuple[JudgedPage, ...]
    agents: bool = False


class Retry(BaseModel, frozen=True):
    """The quarantined items in pages of their own, and the pages that have ended without their verdicts.

    ``set_aside`` are up to 20 that cannot be done however often they are tried.
    """

    pages: tuple[ItemPage, ...]
    judged: tuple[JudgedPage, ...]
    set_aside: tuple[Quarantined, ...] = ()


class PageRequest(SignedStart, frozen=True):
    """The input of the workflow of a page: whose batch it is of, its number, its items and what to do."""

    parent: str
    batch: str
    number: int
    page: ItemPage
    work: Work
    width: int


class OpenRequest(BaseModel, frozen=True):
    """A page to open, as the workflow `id`."""

    id: str
    request: PageRequest


class ReadRequest(BaseModel, frozen=True):
    """The items of a page."""

    items: ArtifactRef


class Items(BaseModel, frozen=True):
    """Items, in order."""

    items: tuple[BatchItem, ...]


class WriteRequest(BaseModel, frozen=True):
    """Verdicts to keep, for the batch of `parent`."""

    parent: str
    results: tuple[ItemResult, ...]


class ItemOf(BaseModel, Generic[Argument], frozen=True):
    """An item with its argument as its activity takes it."""

    key: str
    argument: Argument


class ItemsOf(BaseModel, Generic[Argument], frozen=True):
    """Items that are handed to one call, in order."""

    items: tuple[ItemOf[Argument], ...]


class ItemResults(BaseModel, frozen=True):
    """Verdicts on the first of such items; the others were not begun."""

    results: tuple[ItemResult, ...]


class OpenedPage(BaseModel, frozen=True):
    """A page that was opened: the id of its workflow, and what is known of it."""

    id: str
    page: ItemPage
    report: PageReport


class LookRequest(BaseModel, frozen=True):
    """Pages that have not been heard of for long."""

    parent: str
    pages: tuple[OpenedPage, ...]


class Looked(BaseModel, frozen=True):
    """The last reports of those that have ended."""

    reports: tuple[PageReport, ...] = ()


class ItemCheck(BaseModel, frozen=True):
    """An agent to be started as an item: may it be, for the owner of the page that asks?"""

    kind: str
    input: dict[str, JsonValue] = Field(default_factory=dict)


class CheckedItem(BaseModel, frozen=True):
    """It may be started; `subject` is what it is about, in a few words, if it says."""

    subject: str | None = None


class Gathered(BaseModel, frozen=True):
    """Every verdict so far, as one artifact of JSON lines."""

    results: ArtifactRef
    count: int


class GatherRequest(BaseModel, frozen=True):
    """The verdicts of pages that have ended, and the workflows of those that have not."""

    judged: tuple[ArtifactRef, ...]
    open: tuple[str, ...] = ()
