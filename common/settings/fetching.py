"""Settings for reading the web: which hosts may be fetched, how often, under what name, and who searches."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field, PlainValidator

from common.allowed_hosts import AllowedHosts
from common.error_message import ErrorMessage
from common.grammar import PLAIN_NUMBER
from common.settings.base import Group, setting


def _header(text: str) -> str:
    if not (text.isascii() and text.isprintable()):
        raise ValueError("use plain ASCII only; it is sent as a header")
    return text


class FetchSettings(Group):
    """How the web is read. `rate` is requests a second for each host; `search` is empty or `searxng:URL`."""

    allowed_hosts: Annotated[AllowedHosts, PlainValidator(AllowedHosts.parse)] = setting(
        "HIBERNAUT_ALLOWED_HOSTS",
        "Hosts that may be fetched although they are not public, separated by commas: a name, an "
        "address or a network, each with `:port`; without, ports 80 and 443.",
    )
    user_agent: Annotated[str, AfterValidator(_header)] = setting(
        "HIBERNAUT_USER_AGENT",
        "User agent of the fetcher, for web sites and in robots.txt.",
        default="hibernaut/0.1",
    )
    rate: Annotated[float, Field(gt=0, lt=1000), PLAIN_NUMBER] = setting(
        "HIBERNAUT_FETCH_RATE", "How many requests a second one web host gets at most.", default="1"
    )
    search: Annotated[
        str,
        Field(pattern=r"^(searxng:https?://\S+)?$"),
        ErrorMessage("must be searxng: and the address of one"),
    ] = setting(
        "HIBERNAUT_SEARCH",
        "Search provider: `searxng:URL` asks a SearXNG instance. Empty: sitemaps, feeds and links of the "
        "sites named.",
    )
