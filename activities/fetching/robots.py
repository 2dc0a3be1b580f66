"""A site's robots.txt, cached for a day."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from pathlib import Path

from protego import Protego
from pydantic import BaseModel, ValidationError

from activities.fetching.addresses import origin_of
from common.digest import digest_bytes
from common.files import write_atomically

# RFC 9309: cache it for at most a day, and read at least 500 KiB of it.
KEPT_SECONDS = 86_400.0
MAX_BYTES = 512_000


_USER_AGENT = re.compile(r"(?im)^([ \t]*user[ -]?agent[ \t]*:)([^#\r\n]*)")


@dataclass(frozen=True)
class Robots:
    """The rules of one origin for one user agent."""

    rules: Protego
    agent: str

    def allow(self, url: str) -> bool:
        """Whether `url` may be fetched."""
        return bool(self.rules.can_fetch(_unescaped(url), self.agent))

    def interval(self, usual: float) -> float:
        """Seconds between two requests: `usual`, or more if the site asks for it."""
        rate = self.rules.request_rate(self.agent)
        asked = rate.seconds / rate.requests if rate and rate.requests else 0.0
        return max(usual, float(self.rules.crawl_delay(self.agent) or 0.0), asked)

    def sitemaps(self) -> list[str]:
        """The sitemaps listed in the file."""
        return list(self.rules.sitemaps)


def _unescaped(url: str) -> str:
    """`url` without needless escapes, as rules are compared (RFC 9309, section 2.2.2)."""

    def plain(escape: re.Match[str]) -> str:
        char = chr(int(escape[1], 16))
        return char if char.isascii() and (char.isalnum() or char in "-._~") else escape[0].upper()

    return re.sub("%([0-9A-Fa-f]{2})", plain, url)


class _Kept(BaseModel):
    at: float
    text: str


class RobotsStore:
    """The rules fetched so far, one file per origin. `user_agent` begins with the product name."""

    def __init__(self, folder: Path, user_agent: str) -> None:
        self._folder = folder
        self._agent = user_agent.partition("/")[0].split(" ")[0]

    def find(self, url: str) -> Robots | None:
        """The cached rules for `url`; None if they have to be fetched."""
        try:
            kept = _Kept.model_validate_json(self._file(url).read_bytes())
        except (FileNotFoundError, ValidationError):
            return None
        return self._read(kept.text) if 0 <= time.time() - kept.at < KEPT_SECONDS else None

    def keep(self, url: str, body: bytes) -> Robots:
        """Store the rules that `url`'s origin sent; empty ones allow everything."""
        text = body[:MAX_BYTES].decode("utf-8-sig", "replace")
        write_atomically(self._file(url), _Kept(at=time.time(), text=text).model_dump_json().encode())
        return self._read(text)

    def _read(self, text: str) -> Robots:
        # The library matches parts of names; RFC 9309 matches whole product names and ignores what follows.
        def named(line: re.Match[str]) -> str:
            name = re.split(r"[/\s]", line[2].strip())[0]
            ours = name.lower() == self._agent.lower()
            return f"{line[1]} {self._agent if ours else '*' if name == '*' else '-'}"

        return Robots(Protego.parse(_USER_AGENT.sub(named, text)), self._agent)

    def _file(self, url: str) -> Path:
        return self._folder / f"{digest_bytes(origin_of(url).encode())[:32]}.json"
