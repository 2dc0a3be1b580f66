"""What entry points share of the link researcher: input, the plan a human approves, memory, result."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, AwareDatetime, BaseModel, Field

from common.agents.agent import ThinkerInput
from common.agents.asking import AskingInput
from common.agents.fields import CommaList, Count, PathOrAddress, is_address
from common.agents.needs import Needs, Place
from common.approval.stakes import Stakes
from common.artifacts import ArtifactRef
from common.shown import Shown


def _sites(values: list[str]) -> list[str]:
    """Each with a scheme; `docs.example.org` alone means https.

    Raises:
        ValueError: one is not an http or https address.
    """
    sites = [value if "://" in value else f"https://{value}" for value in values]
    for site in sites:
        parts = urlsplit(site)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f"{site!r} is no http or https address")
    return sites


Topic = Annotated[str, Field(min_length=1, max_length=500)]


class ResearcherInput(AskingInput, ThinkerInput):
    """What `start link-researcher` takes."""

    topic: Topic = Field(description="what to find out about, in a few words")
    sites: Annotated[CommaList, AfterValidator(_sites)] = Field(
        default_factory=list,
        description="addresses of sites to look at; if empty, the search provider of the settings",
    )
    links: Count = Field(5, ge=1, le=20, description="how many links to save and read")
    publish: PathOrAddress = Field(
        "",
        description="where the report goes: a folder, an address to POST it to, or one ending in / to PUT it "
        "below; if empty, it stays with the agent's files",
    )

    @property
    def subject(self) -> str:
        """What the agent is about, in a few words."""
        return f"Research on {self.topic}"

    @property
    def needs(self) -> Needs:
        """What must be available before people are asked: search or sites, and a place for the report."""
        needs = Needs(search=not self.sites, sites=tuple(self.sites))
        if is_address(self.publish):
            return needs.model_copy(update={"addresses": (self.publish,)})
        places = [Place(field="publish", path=self.publish, writes=True)] if self.publish else []
        return needs.model_copy(update={"places": tuple(places)})

    @property
    def stakes(self) -> Stakes:
        """The most that the agent could do, for the operator's policy to judge."""
        return super().stakes.model_copy(update={"recipients": _hosts(self.publish)})


def _hosts(target: str) -> tuple[str, ...]:
    """The host that a report is sent to; empty if the target is a folder."""
    if not is_address(target):
        return ()
    try:
        return (urlsplit(target).hostname or target,)
    except ValueError:
        return (target,)  # not an address, and no domain that a policy could name


class SavedLink(BaseModel, frozen=True):
    """A link worth reading: its address and the words it was offered with. Untrusted."""

    url: str
    text: str = ""


class Source(BaseModel, frozen=True):
    """A page as it was read: its text in the artifact store, and the digest that detects a change."""

    url: Annotated[str, Shown("Page")]
    title: Annotated[str, Shown(heading=True)]
    media_type: Annotated[str, Shown(internal=True)]
    digest: Annotated[str, Shown(internal=True)]
    text: Annotated[ArtifactRef, Shown("As it was read", file="page.txt", order=1)]
    characters: Annotated[int, Shown(internal=True)]
    fetched_at: AwareDatetime


class Unread(BaseModel, frozen=True):
    """A link that could not be read, and why."""

    url: Annotated[str, Shown("Page")]
    reason: Annotated[str, Shown("Why")]


class PageReading(BaseModel, frozen=True):
    """What a page says on the topic.

    Attributes:
        url: of the page.
        claims: the claims with their quotes, JSON, in the artifact store.
        said: the same in words, to be compared with what other pages say.
        count: how many claims there are.
        dropped: claims left out because their quote is not in the page.
        model: who read it; `offline` is the extractive analyst, not a language model.
        index: whether it reads like an index, with hardly a sentence.
    """

    url: str
    claims: ArtifactRef
    said: ArtifactRef
    count: int
    dropped: int
    model: str
    index: bool = False


class PublishPlan(BaseModel, frozen=True):
    """What a human approves: to publish exactly this report to `target`, a folder or an address.

    `markdown` and `html` name the exact bytes, `opening` is how the report begins, `sources` are the pages it
    quotes, `model` is who wrote it, and `weak` is why it may say little on the topic.
    """

    topic: str
    target: Annotated[PathOrAddress, Shown(internal=True)]
    markdown: Annotated[ArtifactRef, Shown("The report, as text", file="report.md", order=2)]
    html: Annotated[ArtifactRef, Shown("The report, as a page", file="report.html", order=1)]
    opening: Annotated[str, Shown("How it begins", form="markdown", order=3)]
    claims: Annotated[int, Shown("Quotes")]
    sources: Annotated[tuple[Source, ...], Shown("Pages it quotes", order=4)]
    unread: Annotated[tuple[Unread, ...], Shown("Pages it could not read", order=5)]
    model: Annotated[str, Shown("Language model", internal=True)]
    weak: Annotated[str, Shown("How well it matches", order=0)] = Field("", exclude_if=lambda weak: not weak)

    @property
    def place(self) -> Annotated[str, Shown("Where it goes")]:
        """The target; if there is none, the agent keeps the report among its files."""
        return self.target or "nowhere else: it stays with the agent's files"

    @property
    def stakes(self) -> Stakes:
        """Where the report is sent."""
        return Stakes(recipients=_hosts(self.target))


class Published(BaseModel, frozen=True):
    """Where the report stands now: its addresses, its paths, or its names among the agent's files."""

    places: tuple[str, ...]


class ResearcherMemory(BaseModel):
    """What the link researcher carries over.

    `changed` are the addresses of pages that the last validation found changed, `evidence` the same in words;
    `draft` is the name of the agent's file with the draft.
    """

    links: list[SavedLink] = Field(default_factory=list)
    searched: bool = False
    sources: list[Source] = Field(default_factory=list)
    unread: list[Unread] = Field(default_factory=list)
    readings: list[PageReading] = Field(default_factory=list)
    plan: PublishPlan | None = None
    draft: str = ""
    changed: list[str] = Field(default_factory=list)
    evidence: list[str] = Field(default_factory=list)
    decision: str = ""
    published: Published | None = None

    @property
    def unfetched(self) -> list[str]:
        """The addresses of links that are neither read nor given up, in order."""
        done = {each.url for each in self.sources} | {each.url for each in self.unread}
        return [link.url for link in self.links if link.url not in done]

    def leave_out_copies(self) -> None:
        """Sort the pages in the order of the links, and leave out those with the same text as another."""
        order = {link.url: place for place, link in enumerate(self.links)}
        first: dict[str, Source] = {}
        for source in sorted(self.sources, key=lambda each: order[each.url]):
            if source.digest in first:
                reason = f"it has the same text as {first[source.digest].url}"
                self.unread.append(Unread(url=source.url, reason=reason))
            else:
                first[source.digest] = source
        self.sources = list(first.values())

    def forget(self, urls: list[str], evidence: list[str]) -> None:
        """Drop what was read at `urls`, and the plan that rested on it."""
        self.changed, self.evidence = urls, evidence
        self.sources = [each for each in self.sources if each.url not in urls]
        self.readings = [each for each in self.readings if each.url not in urls]
        self.plan = None


class ResearchOutcome(StrEnum):
    """How the link researcher ended."""

    PUBLISHED = "published"
    NOT_APPROVED = "not_approved"
    NOTHING_FOUND = "nothing_found"


class ResearchResult(BaseModel, frozen=True):
    """The result. `places` is where the report is; `draft` is the agent's file with it.

    If nothing was found, `reason` says why nobody was asked.
    """

    outcome: ResearchOutcome
    topic: str
    claims: Annotated[int, Shown("Quotes")]
    read: Annotated[tuple[str, ...], Shown("Pages it quotes")]
    unread: Annotated[tuple[Unread, ...], Shown("Pages it could not read")]
    model: Annotated[str, Shown("Written by")]
    places: Annotated[tuple[str, ...], Shown("The report", order=-1)] = ()
    draft: Annotated[str, Shown("The draft", order=-1)] = ""
    decision: Annotated[str, Shown("What people decided")] = ""
    reason: Annotated[str, Shown("Why nobody was asked")] = ""
