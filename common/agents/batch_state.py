"""The state of a batch that its agent carries over, and its rules: how many may begin, how it stands."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta

from pydantic import AwareDatetime, BaseModel, Field

from common.agents.batch import (
    MAX_SHOWN,
    BatchCounts,
    BatchItem,
    BatchStatus,
    InFlight,
    ItemPage,
    JudgedPage,
    Listing,
    Quarantined,
    Work,
)
from common.artifacts import ArtifactRef

# The pace is computed from this many samples, at least this far apart.
MAX_SAMPLES = 30
SAMPLE_EVERY = timedelta(seconds=5)


class PageReport(BaseModel, frozen=True):
    """How a page stands. The counts are totals, so a report that is lost or arrives twice does no harm.

    ``serial`` grows with each report; ``asking`` counts open questions of its agents, for ``deciders`` to
    answer. ``results`` is set in the last report: the verdicts on all items.
    """

    number: int
    serial: int = 0
    waiting: int
    in_flight: int = 0
    done: int = 0
    quarantined: int = 0
    asking: int = 0
    deciders: tuple[str, ...] = ()
    oldest: tuple[InFlight, ...] = ()
    set_aside: tuple[Quarantined, ...] = ()
    results: ArtifactRef | None = None

    @property
    def ended(self) -> int:
        """How many items have their verdict."""
        return self.done + self.quarantined


class OpenPage(BaseModel):
    """A page that has begun and not ended: its items, its width, its last report, and when that came.

    ``retry``: once it has ended, the items it quarantined are tried again.
    """

    page: ItemPage
    width: int
    heard: AwareDatetime
    report: PageReport
    retry: bool = False


class Sample(BaseModel, frozen=True):
    """How many items had ended after so many seconds, not counting paused time."""

    seconds: float
    ended: int


class BatchState(BaseModel):
    """Everything of a batch that is carried over.

    ``source`` is the digest of what it was started with; ``run`` tells its pages from those of another agent
    that had the same id. ``opened`` is how many pages have ever been opened. ``more`` and ``retry`` are
    commands still to be carried out. ``told`` is how many open questions people have been told of, and
    ``asked_at`` when the last question came or people were last told.
    """

    source: str
    id: str
    run: str
    work: Work
    at_once: int
    paused: bool = False
    opened: int = 0
    duplicates: int = 0
    waiting: list[ItemPage] = Field(default_factory=list)
    open: dict[int, OpenPage] = Field(default_factory=dict)
    judged: list[JudgedPage] = Field(default_factory=list)
    set_aside: list[Quarantined] = Field(default_factory=list)
    more: list[BatchItem] = Field(default_factory=list)
    retry: bool = False
    over: bool = False
    told: int = 0
    asked_at: AwareDatetime | None = None
    samples: list[Sample] = Field(default_factory=list)
    active_seconds: float = 0
    active_since: AwareDatetime | None = None

    @property
    def free(self) -> int:
        """The width left for the beginning page: `at_once` less the items in flight in other pages."""
        draining = sum(each.report.in_flight for each in self.open.values() if not each.report.waiting)
        return 0 if self.paused else max(0, self.at_once - draining)

    @property
    def beginning(self) -> OpenPage | None:
        """The open page that has items left to begin; there is at most one."""
        return next((each for each in self.open.values() if each.report.waiting), None)

    @property
    def is_done(self) -> bool:
        """Whether every item has its verdict, and no command is left."""
        return not (self.waiting or self.open or self.more or self.retry)

    @property
    def listed(self) -> tuple[ArtifactRef, ...]:
        """All items of the batch, an artifact per page."""
        pages = [*self.waiting, *(each.page for each in self.open.values())]
        return (*(each.items for each in pages), *(each.items for each in self.judged if each.items))

    @property
    def asking(self) -> int:
        """How many questions of the batch's agents are open."""
        return sum(each.report.asking for each in self.open.values())

    @property
    def deciders(self) -> tuple[str, ...]:
        """Who may answer them."""
        names = (name for each in self.open.values() for name in each.report.deciders)
        return tuple(dict.fromkeys(names))

    @property
    def ended(self) -> int:
        """How many items have their verdict."""
        closed = sum(each.done + each.quarantined for each in self.judged)
        return closed + sum(each.report.ended for each in self.open.values())

    def tell_at(self, quiet: timedelta, again: timedelta) -> datetime | None:
        """When to tell people of open questions next: `quiet` after a new one, or `again` as a reminder."""
        if not self.asking or self.asked_at is None:
            return None
        return self.asked_at + (quiet if self.asking > self.told else again)

    def begin(self, width: int, now: datetime) -> OpenPage:
        """Move the next waiting page to the open ones, and return it."""
        page = self.waiting.pop(0)
        self.opened += 1
        report = PageReport(number=self.opened, waiting=page.count)
        opened = self.open[self.opened] = OpenPage(page=page, width=width, heard=now, report=report)
        return opened

    def take(self, report: PageReport, now: datetime) -> None:
        """Apply a report; ignore one older than the last, or of a page that has ended."""
        page = self.open.get(report.number)
        if page is None or report.serial <= page.report.serial:
            return
        if report.asking > page.report.asking:
            self.asked_at = now
        page.report, page.heard = report, now
        if report.results is not None:
            del self.open[report.number]
            self.judged.append(
                JudgedPage(
                    items=page.page.items,
                    results=report.results,
                    done=report.done,
                    quarantined=report.quarantined,
                )
            )
            self.set_aside = [*self.set_aside, *report.set_aside][-MAX_SHOWN:]
            self.retry = self.retry or (page.retry and report.quarantined > 0)
        self.told = min(self.told, self.asking)
        self._sample(now)

    def add(self, listing: Listing) -> None:
        """Add items."""
        self.waiting += listing.pages
        self.duplicates += listing.duplicates
        if listing.refused:
            self.judged.append(listing.refused)
            self.set_aside = [*self.set_aside, *listing.set_aside][-MAX_SHOWN:]

    def pause(self, paused: bool, now: datetime) -> None:
        """Record that the batch is paused or goes on; paused time does not count for the pace."""
        self.active_seconds = self._seconds(now)
        self.active_since = None if paused else now
        self.paused = paused

    def tried_again(
        self, pages: Iterable[ItemPage], judged: list[JudgedPage], set_aside: Iterable[Quarantined]
    ) -> None:
        """Put quarantined items back among the waiting ones; `judged` are the pages without them."""
        self.waiting += pages
        self.judged, self.set_aside, self.retry, self.samples = judged, list(set_aside), False, []

    def counts(self) -> BatchCounts:
        """The counts of what is judged."""
        return BatchCounts(
            items=self._items,
            done=sum(each.done for each in self.judged),
            quarantined=sum(each.quarantined for each in self.judged),
            duplicates=self.duplicates,
            results=tuple(each.results for each in self.judged),
        )

    def status(self, now: datetime, page_id: str) -> BatchStatus:
        """How the batch stands; `page_id` is the prefix of the ids of its pages."""
        reports = [each.report for each in self.open.values()]
        in_flight, pace = sum(each.in_flight for each in reports), self.pace
        left = self._items - self.ended
        oldest = sorted((each for report in reports for each in report.oldest), key=lambda each: each.since)
        done = sum(each.done for each in self.judged)
        aside = sum(each.quarantined for each in self.judged)
        samples = [*self.set_aside, *(each for report in reports for each in report.set_aside)]
        return BatchStatus(
            id=self.id,
            kind=self.work.kind,
            items=self._items,
            done=done + sum(each.done for each in reports),
            quarantined=aside + sum(each.quarantined for each in reports),
            in_flight=in_flight,
            waiting=left - in_flight,
            duplicates=self.duplicates,
            at_once=self.at_once,
            asking=self.asking,
            pace=pace,
            eta=now + timedelta(hours=left / pace) if pace and left and not self.paused else None,
            stuck=oldest[:MAX_SHOWN],
            set_aside=samples[-MAX_SHOWN:],
            pages=[f"{page_id}{number}" for number in self.open],
            results=[each.results for each in self.judged],
        )

    @property
    def pace(self) -> float | None:
        """Items an hour, over the newest reports; None until two of them differ."""
        if len(self.samples) < 2:
            return None
        first, last = self.samples[0], self.samples[-1]
        hours = (last.seconds - first.seconds) / 3600
        return round((last.ended - first.ended) / hours, 1) if last.ended > first.ended else None

    @property
    def _items(self) -> int:
        open = sum(each.page.count for each in self.open.values())
        judged = sum(each.done + each.quarantined for each in self.judged)
        return judged + open + sum(each.count for each in self.waiting)

    def _seconds(self, now: datetime) -> float:
        running = (now - self.active_since).total_seconds() if self.active_since else 0
        return self.active_seconds + running

    def _sample(self, now: datetime) -> None:
        seconds = self._seconds(now)
        if not self.samples or seconds - self.samples[-1].seconds >= SAMPLE_EVERY.total_seconds():
            self.samples = [*self.samples, Sample(seconds=seconds, ended=self.ended)][-MAX_SAMPLES:]
