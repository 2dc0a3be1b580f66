"""Stand-ins for the web in a rehearsal: pages that say what they are, always the same for an address."""

from __future__ import annotations

import re
from urllib.parse import quote_plus, unquote_plus, urlsplit

from activities.documents.extract import Link
from activities.fetching.records import (
    FetchRequest,
    FoundLinks,
    LinksRequest,
    Page,
    PageDigest,
    SearchRequest,
)
from activities.rehearsal.stand_ins import agent_time
from common.artifacts import ArtifactStore
from common.digest import digest_bytes

_LINKS = 3
_NOBODYS = "https://rehearsed.invalid"


def rehearsed_search(request: SearchRequest) -> FoundLinks:
    """Links in place of a search's results."""
    site = request.sites[0] if request.sites else _NOBODYS
    return rehearsed_links(LinksRequest(site=site, words=request.query, limit=request.limit))


def rehearsed_links(request: LinksRequest) -> FoundLinks:
    """Links in place of a site's own, to stand-in pages."""
    site, words = request.site.rstrip("/"), request.words
    links = [
        Link(url=f"{site}/stand-in-{number}?about={quote_plus(words)}", text=f"{words} (stand-in {number})")
        for number in range(1, min(_LINKS, request.limit) + 1)
    ]
    return FoundLinks(links=links, sources=[site])


def rehearsed_page(request: FetchRequest, artifacts: ArtifactStore) -> Page:
    """A page in place of the real one at an address."""
    text = _text(request.url).encode()
    ref = artifacts.put(text)
    return Page(
        url=request.url,
        final_url=request.url,
        status=200,
        media_type="text/html",
        title="A stand-in, not fetched",
        text=ref,
        raw=ref,
        digest=digest_bytes(text),
        etag="",
        fetched_at=agent_time(),
        unchanged=False,
        links=0,
        characters=len(text),
        cut=False,
    )


def rehearsed_digest(request: FetchRequest) -> PageDigest:
    """The digest of the stand-in page; it never changes."""
    return PageDigest(url=request.url, digest=digest_bytes(_text(request.url).encode()))


def _text(url: str) -> str:
    parts = urlsplit(url)
    about = " ".join(re.findall(r"\w+", unquote_plus(f"{parts.path} {parts.query}".replace("about=", ""))))
    return (
        f"Nothing was fetched from {url}. In a rehearsal this page stands in for what it says of {about}.\n"
    )
