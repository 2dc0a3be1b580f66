"""What crosses between agents and the activities that read the web. Light to import."""

from __future__ import annotations

from pydantic import AwareDatetime, BaseModel, Field

from activities.documents.extract import Link
from common.artifacts import ArtifactRef


class FetchRequest(BaseModel, frozen=True):
    """An address to fetch. What this agent fetched before is good enough, unless `fresh`."""

    url: str
    fresh: bool = False


class Page(BaseModel, frozen=True):
    """A page as its agent fetched it last.

    Attributes:
        url: the address asked for, in one spelling.
        final_url: where redirects led.
        status: HTTP status.
        media_type: without parameters.
        title: may be empty.
        text: the main text, UTF-8, in the artifact store.
        raw: the body as it came, unpacked.
        digest: SHA-256 of the words of the main text; adverts, dates and menus around it do not count.
        etag: as the site gave it, or empty.
        fetched_at: when the site was asked last.
        unchanged: the site was asked just now, and said that nothing changed since the fetch before.
        links: how many links it has; 0 for what is no HTML.
        characters: length of the text.
        cut: the text was longer and is cut.
    """

    url: str
    final_url: str
    status: int
    media_type: str
    title: str
    text: ArtifactRef
    raw: ArtifactRef
    digest: str
    etag: str
    fetched_at: AwareDatetime
    unchanged: bool
    links: int
    characters: int
    cut: bool


class PageDigest(BaseModel, frozen=True):
    """The digest of a page's main text as it is now: the premise of whatever quotes the page."""

    url: str
    digest: str


class LinksRequest(BaseModel, frozen=True):
    """A site, by the address of its front page, and words to rank its links by; without, in their order."""

    site: str
    words: str = ""
    limit: int = Field(default=200, gt=0, le=1000)


class SearchRequest(BaseModel, frozen=True):
    """A query for the search provider; where none is set, a search in what the named sites list."""

    query: str
    sites: list[str] = Field(default_factory=list)
    limit: int = Field(default=20, gt=0, le=200)


class FoundLinks(BaseModel, frozen=True):
    """Links, best first; `sources` are the addresses or provider they come from, `skipped` what gave none."""

    links: list[Link]
    sources: list[str]
    skipped: list[str] = Field(default_factory=list)
