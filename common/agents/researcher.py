"""What entry points share of the link researcher: input, the plan a human approves, memory, result."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, AwareDatetime, BaseModel, Field

from common.agents.agent import ThinkerInput
from common.agents.asking import AskingInput
from common.agents.fields import Count, PathOrAddress, Words, is_address
from common.approval.stakes import Stakes
from common.artifacts import ArtifactRef


def _sites(values: list[str]) -> list[str]:
    """Each with a scheme; `docs.example.org` alone means https.

    Raises:
        ValueError: one is no http or https address.
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
    sites: Annotated[Words, AfterValidator(_sites)] = Field(
        default_factory=list,
        description="addresses of sites to look at; the search provider of the settings where empty",
    )
    links: Count = Field(5, ge=1, le=20, description="how many links to save and read")
    publish: PathOrAddress = Field(
        "",
        description="where the report goes: a folder, an address it is posted to, or one ending in / that it "
        "is put below; the data folder where empty",
    )

    @property
    def stakes(self) -> Stakes:
        """The most that can come of it, for the operator's policy to judge."""
        return super().stakes.model_copy(update={"recipients": _hosts(self.publish)})


def _hosts(target: str) -> tuple[str, ...]:
    """The host that a report is sent to; none where the target is a folder."""
    if not is_address(target):
        return ()
    try:
        return (urlsplit(target).hostname or target,)
    except ValueError:
        return (target,)  # no address at all, and no domain that a policy could name


class SavedLink(BaseModel, frozen=True):
    """A link worth reading: its address and the words it was offered with. Untrusted."""

    url: str
    text: str = ""


class Source(BaseModel, frozen=True):
    """A page as it was read: its text in the artifact store, and the digest that a change shows in."""

    url: str
    title: str
    media_type: str
    digest: str
    text: ArtifactRef
    characters: int
    fetched_at: AwareDatetime


class Unread(BaseModel, frozen=True):
    """A link that gave nothing, and why."""

    url: str
    reason: str


class PageReading(BaseModel, frozen=True):
    """What a page says on the topic.

    Attributes:
        url: of the page.
        claims: the claims with their quotes, JSON, in the artifact store.
        said: the same in words, to be compared with what other pages say.
        count: how many claims there are.
        dropped: claims left out because their quote is not in the page.
        model: who read it; `offline` is the extractive analyst, no language model.
    """

    url: str
    claims: ArtifactRef
    said: ArtifactRef
    count: int
    dropped: int
    model: str


class PublishPlan(BaseModel, frozen=True):
    """What a human approves: to publish exactly this report to `target`, a folder or an address.

    `markdown` and `html` name the very bytes, `opening` is how the report begins, `sources` are what its
    quotes stand in, and `model` is who wrote it.
    """

    topic: str
    target: PathOrAddress
    markdown: ArtifactRef
    html: ArtifactRef
    opening: str
    claims: int
    sources: tuple[Source, ...]
    unread: tuple[Unread, ...]
    model: str

    @property
    def stakes(self) -> Stakes:
        """Where the report is sent."""
        return Stakes(recipients=_hosts(self.target))


class Published(BaseModel, frozen=True):
    """Where the report stands now: the paths or the addresses of it."""

    places: tuple[str, ...]


class ResearcherMemory(BaseModel):
    """What the link researcher carries over.

    `changed` are the addresses of pages that were not what they had been at the last validation, `evidence`
    the same in words; `draft` is the path of the draft for people to read.
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
        """Bring the pages into the order of the links, and leave out those with the text of another."""
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


class ResearchResult(BaseModel, frozen=True):
    """What became of it. `places` is where the report stands; `draft` is where it can be read in any case."""

    outcome: ResearchOutcome
    topic: str
    claims: int
    read: tuple[str, ...]
    unread: tuple[Unread, ...]
    model: str
    places: tuple[str, ...] = ()
    draft: str = ""
    decision: str = ""
