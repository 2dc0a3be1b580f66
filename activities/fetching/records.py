"""Requests and results of the activities that read the web. Cheap to import."""

from __future__ import annotations

from pydantic import AwareDatetime, BaseModel, Field

from activities.documents.extract import Link
from common.artifacts import ArtifactRef


class FetchRequest(BaseModel, frozen=True):
    """An address to fetch. An earlier fetch by this agent is reused, unless `fresh`."""

    url: str
    fresh: bool = False


class Page(BaseModel, frozen=True):
    """A page as its agent last fetched it.

    Attributes:
        url: the requested address, normalised.
        final_url: where redirects led.
        status: HTTP status.
        media_type: without parameters.
        title: may be empty.
        text: the main text, UTF-8, in the artifact store.
        raw: the body, decompressed.
        digest: SHA-256 of the words of the main text, without menus and adverts.
        etag: as the site gave it, or empty.
        fetched_at: when the site was last asked.
        unchanged: the site answered that nothing changed since the last fetch (304).
        links: number of links; 0 for anything but HTML.
        characters: length of the text.
        cut: the text was too long and is truncated.
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
    """The digest of a page's main text as it is now: a premise of plans that quote the page."""

    url: str
    digest: str


class LinksRequest(BaseModel, frozen=True):
    """A site's front page, and words to rank its links by. Without words, links keep their order."""

    site: str
    words: str = ""
    limit: int = Field(default=200, gt=0, le=1000)


class SearchRequest(BaseModel, frozen=True):
    """A query for the search provider, or without a provider, for the links that the named sites list."""

    query: str
    sites: list[str] = Field(default_factory=list)
    limit: int = Field(default=20, gt=0, le=200)


class FoundLinks(BaseModel, frozen=True):
    """Links, best first; `sources`: addresses or the provider's name; `skipped`: failed sources, and why."""

    links: list[Link]
    sources: list[str]
    skipped: list[str] = Field(default_factory=list)
