"""Settings of reading the web: which hosts may be fetched, how often, under what name, and who searches."""

from __future__ import annotations

import re
from dataclasses import dataclass

from common.allowed_hosts import AllowedHosts
from common.settings.base import Setting, SettingsError, Values

ALLOWED_HOSTS = Setting(
    "HIBERNAUT_ALLOWED_HOSTS",
    "",
    "Own hosts that may be fetched although they are not public, with commas between: a name, an address or "
    "a network, each with `:port` or for 80 and 443.",
)
USER_AGENT = Setting(
    "HIBERNAUT_USER_AGENT", "hibernaut/0.1", "How the fetcher names itself to web sites, and in robots.txt."
)
FETCH_RATE = Setting("HIBERNAUT_FETCH_RATE", "1", "Requests a second that one web host gets at most.")
SEARCH = Setting(
    "HIBERNAUT_SEARCH",
    "",
    "Search provider: `searxng:URL` asks a SearXNG instance. Empty: sitemaps, feeds and links of the sites "
    "named.",
)

TABLE = (ALLOWED_HOSTS, USER_AGENT, FETCH_RATE, SEARCH)


@dataclass(frozen=True)
class FetchSettings:
    """How the web is read. `rate` is requests a second for each host; `search` empty or `searxng:URL`."""

    allowed_hosts: AllowedHosts
    user_agent: str
    rate: float
    search: str

    @classmethod
    def read(cls, value: Values) -> FetchSettings:
        """Read the group.

        Raises:
            SettingsError: a value cannot be used.
        """
        try:
            allowed_hosts = AllowedHosts.parse(value(ALLOWED_HOSTS))
        except ValueError as error:
            raise SettingsError(f"{ALLOWED_HOSTS.variable}: {error}.") from None
        user_agent = value(USER_AGENT)
        if not (user_agent.isascii() and user_agent.isprintable()):
            raise SettingsError(f"{USER_AGENT.variable}: plain ASCII only; it is sent as a header.")
        rate = value(FETCH_RATE)
        if not re.fullmatch(r"\d{1,3}(\.\d{1,4})?", rate) or not float(rate):
            raise SettingsError(f"{FETCH_RATE.variable}={rate}: give requests a second, 0.1 for example.")
        search = value(SEARCH)
        if search and not re.fullmatch(r"searxng:https?://\S+", search):
            raise SettingsError(f"{SEARCH.variable}={search}: say searxng:URL, or leave it empty.")
        return cls(allowed_hosts=allowed_hosts, user_agent=user_agent, rate=float(rate), search=search)
