"""Internal hosts that may be reached although the guard refuses their addresses or ports."""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_network

USUAL_PORTS = (80, 443)

Address = IPv4Address | IPv6Address


@dataclass(frozen=True)
class AllowedHost:
    """One entry: a name or a network, and ports. A name is allowed whatever it resolves to."""

    name: str
    network: IPv4Network | IPv6Network | None
    ports: tuple[int, ...]


@dataclass(frozen=True)
class AllowedHosts:
    """The allow-list. Without entries, only public addresses on ports 80 and 443 are reached."""

    entries: tuple[AllowedHost, ...] = ()

    @classmethod
    def parse(cls, text: str) -> AllowedHosts:
        """Parse entries separated by commas: names, addresses or networks, each with or without `:port`.

        `wiki.intranet, 10.1.0.0/16:8080, [fd00::7]:8443`; without a port, 80 and 443 are meant.

        Raises:
            ValueError: an entry is invalid; the message quotes it.
        """
        return cls(tuple(_entry(word) for each in text.split(",") if (word := each.strip())))

    def allow(self, host: str, port: int, address: Address) -> bool:
        """Whether an entry allows a connection to `address`, which `host` resolved to."""
        return any(
            port in entry.ports and (address in entry.network if entry.network else host == entry.name)
            for entry in self.entries
        )

    def has_port(self, port: int) -> bool:
        """Whether any entry names this port."""
        return any(port in entry.ports for entry in self.entries)


_ENTRY = re.compile(
    r"(?:\[(?P<bracketed>[0-9a-f:]+(?:/\d+)?)\]|(?P<plain>[^\[\]:]+)|(?P<bare>[0-9a-f:/]+))(?::(?P<port>\d+))?"
)
_NAME = re.compile(r"(?!.*\.\.)[a-z0-9_]([a-z0-9._-]*[a-z0-9_])?")


def _entry(word: str) -> AllowedHost:
    found = _ENTRY.fullmatch(word.lower())
    host = found and (found["bracketed"] or found["plain"] or found["bare"])
    if not found or not host:
        raise ValueError(f"{word!r} is not a host, address or network, with or without :port")
    port = int(found["port"]) if found["port"] else None
    if port is not None and not 0 < port < 65536:
        raise ValueError(f"{word!r} has no port from 1 to 65535")
    ports = USUAL_PORTS if port is None else (port,)
    try:
        return AllowedHost("", ip_network(host), ports)
    except ValueError:
        # Something that looks like a network but is not one must not pass for a name.
        if not _NAME.fullmatch(host) or re.fullmatch(r"[0-9.]+|0x.*", host):
            raise ValueError(f"{word!r} is not a host, address or network, with or without :port") from None
    return AllowedHost(host, None, ports)
