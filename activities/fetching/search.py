"""Search providers: they find pages when no sites are named."""

from __future__ import annotations

import json
from typing import Protocol

import httpx
from temporalio.exceptions import ApplicationError

from activities.documents.extract import Link
from activities.fetching.addresses import resolve
from activities.fetching.exchange import exchange, pause_of
from activities.fetching.guard import Resolver, guarded_client
from common.allowed_hosts import AllowedHosts
from common.errors import permanent, retry_after

MAX_BYTES = 5_000_000


class SearchProvider(Protocol):
    """Finds pages for a query."""

    name: str

    async def search(self, query: str, limit: int) -> list[Link]:
        """The best pages, best first, at most `limit`."""
        ...


class SearxNG:
    """A SearXNG instance with the format `json` enabled. Its answers are as untrusted as any page."""

    name = "searxng"

    def __init__(self, client: httpx.AsyncClient, url: str) -> None:
        self._client = client
        self._url = httpx.URL(url.rstrip("/") + "/search")

    async def search(self, query: str, limit: int) -> list[Link]:
        """The best pages, best first, at most `limit`.

        Raises:
            ApplicationError: retryable: `SearchBusy`, `SearchFailing`; permanent: `SearchRefused`.
        """
        url = str(self._url.copy_merge_params({"q": query[:400], "format": "json"}))
        answer = await exchange(self._client, url, max_bytes=MAX_BYTES)
        if answer.status == 429:
            raise retry_after("SearchBusy", f"{self._url}: too many searches", pause_of(answer.headers))
        if answer.status >= 500:
            raise ApplicationError(f"{self._url}: status {answer.status}", type="SearchFailing")
        if answer.status == 403:
            raise permanent(
                "SearchRefused", f"{self._url}: status 403; does its search.formats setting hold json?"
            )
        try:
            results = json.loads(answer.body)["results"]
            found = {str(each["url"]): str(each.get("title") or "") for each in results}
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            raise permanent(
                "SearchRefused", f"{self._url}: status {answer.status}, and no results in JSON"
            ) from None
        links = [
            Link(url=url, text=" ".join(title.split())[:300])
            for url, title in found.items()
            if resolve(url, url)
        ]
        return links[:limit]


def search_provider(
    setting: str, allowed: AllowedHosts, user_agent: str, *, resolve: Resolver | None = None
) -> SearchProvider | None:
    """The provider that the setting names, `searxng:URL`; None if the setting is empty.

    The provider's own host passes the guard even if internal, because the operator named it.
    """
    if not setting:
        return None
    url = httpx.URL(setting.removeprefix("searxng:"))
    host = f"[{url.host}]" if ":" in url.host else url.host
    port = url.port or (443 if url.scheme == "https" else 80)
    own = AllowedHosts.parse(f"{host}:{port}").entries
    client = guarded_client(
        AllowedHosts(allowed.entries + own), headers={"User-Agent": user_agent}, resolve=resolve
    )
    return SearxNG(client, str(url))
