"""The guard against server-side request forgery: an HTTP client that reaches only public addresses.

Pages, mails and models say what to fetch, and this process runs inside the network. So every request,
including each hop of a redirect, is checked twice: the spelling of its URL before anything is sent, and the
IP address on connecting. The name is resolved once, all of its addresses are checked, and the connection goes
to a checked address, so DNS rebinding does not work.
"""

from __future__ import annotations

import asyncio
import re
import socket
import ssl
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from http.cookiejar import CookieJar, DefaultCookiePolicy
from ipaddress import IPv6Address, ip_address, ip_network

import httpcore
import httpx

from common.allowed_hosts import USUAL_PORTS, Address, AllowedHosts

# Refused in addition to addresses that are not `is_global`, with the reason.
_REFUSED = (
    ("168.63.129.16/32", "a cloud's metadata service"),
    ("192.88.99.0/24", "a relay into IPv6"),
    ("192.0.0.0/24", "reserved"),
    ("2001::/23", "reserved"),  # Teredo, which embeds an IPv4 address, and similar protocols
    ("2002::/16", "an IPv4 address in another form"),  # 6to4
    ("3fff::/20", "for documentation"),
)
_NETWORKS = tuple((ip_network(network), reason) for network, reason in _REFUSED)
# The only range assigned for global unicast: mapped, compatible, NAT64, local, link-local and multicast
# addresses lie outside.
_PUBLIC_IPV6 = ip_network("2000::/3")

# Time limit for resolving a name in `check_reachable`.
RESOLVE_SECONDS = 3.0

Resolver = Callable[[str, int], Awaitable[Sequence[str]]]


class AddressRefusedError(Exception):
    """The guard refuses this request; the message says why. Retrying does not help."""


def guarded_client(
    allowed: AllowedHosts | None = None,
    *,
    resolve: Resolver | None = None,
    headers: Mapping[str, str] | None = None,
    timeout: float = 20.0,
    verify: ssl.SSLContext | bool = True,
) -> httpx.AsyncClient:
    """An HTTP client behind the guard: no proxy, no cookies, no retries, and by default no redirects.

    If redirects are followed, each hop is checked.

    Args:
        allowed: internal hosts that may be reached anyway.
        resolve: returns the addresses of a name; None for the system's resolver.
        headers: sent with every request.
        timeout: seconds to connect, and between two chunks of an answer. Callers limit the whole exchange.
        verify: how servers' certificates are checked.

    A request to a refused address raises `AddressRefusedError`.
    """
    return httpx.AsyncClient(
        transport=GuardedTransport(allowed or AllowedHosts(), resolve or system_resolver, verify),
        headers=headers,
        timeout=timeout,
        trust_env=False,
        # All agents share this client, so a cookie set for one could leak to another.
        cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),
    )


class GuardedTransport(httpx.AsyncHTTPTransport):
    """httpx's transport, with every connection checked as it is made."""

    def __init__(self, allowed: AllowedHosts, resolve: Resolver, verify: ssl.SSLContext | bool) -> None:
        context = httpx.create_ssl_context(verify=verify, trust_env=False)
        super().__init__(verify=context, trust_env=False)
        self._allowed = allowed
        self._pool = httpcore.AsyncConnectionPool(
            ssl_context=context,
            max_connections=100,
            max_keepalive_connections=20,
            keepalive_expiry=5.0,
            network_backend=_GuardedNetwork(allowed, resolve),
        )

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Check the spelling of the URL, then send the request."""
        check_url(request.url, self._allowed)
        return await super().handle_async_request(request)


class _GuardedNetwork(httpcore.AsyncNetworkBackend):
    """Connects to checked IP addresses. TLS and the Host header still use the name."""

    def __init__(self, allowed: AllowedHosts, resolve: Resolver) -> None:
        self._allowed = allowed
        self._resolve = resolve
        self._network = httpcore.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 -- httpcore names it so
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        try:
            async with asyncio.timeout(timeout):
                found = await self._resolve(host, port)
        except TimeoutError:
            raise httpcore.ConnectTimeout(f"the name {host} was not resolved in time") from None
        except OSError as error:
            raise httpcore.ConnectError(f"the name {host} cannot be resolved: {error}") from error
        addresses = [ip_address(text) for text in found]
        if not addresses:
            raise httpcore.ConnectError(f"the name {host} has no address")
        # Check all of them; otherwise making the others fail would give access to a refused one.
        for address in addresses:
            check_address(host, port, address, self._allowed)
        for address in addresses[:-1]:
            try:
                return await self._network.connect_tcp(
                    str(address), port, timeout, local_address, socket_options
                )
            except (httpcore.ConnectError, httpcore.ConnectTimeout):
                continue
        return await self._network.connect_tcp(
            str(addresses[-1]), port, timeout, local_address, socket_options
        )

    async def connect_unix_socket(
        self,
        path: str,
        timeout: float | None = None,  # noqa: ASYNC109 -- httpcore names it so
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        raise AddressRefusedError("a Unix socket is not reached")

    async def sleep(self, seconds: float) -> None:
        await self._network.sleep(seconds)


def check_url(url: httpx.URL, allowed: AllowedHosts) -> None:
    """Check the spelling of a URL. The IP address behind it is checked on connecting.

    Raises:
        AddressRefusedError: wrong scheme or port, credentials, no host, or an unusually written IP address.
    """
    if url.scheme not in ("http", "https"):
        raise AddressRefusedError(f"{url.scheme[:20] or 'no scheme'}: only http and https are fetched")
    if url.userinfo:
        raise AddressRefusedError(f"{url.host}: an address with a name or password in it is not fetched")
    host = url.host.lower()
    if not host:
        raise AddressRefusedError("an address without a host is not fetched")
    if _looks_like_number(host) and not _is_plain_address(host):
        raise AddressRefusedError(f"{host}: an IP address in an odd spelling is not fetched")
    if "%" in host:
        raise AddressRefusedError(f"{host}: an address with a zone is not fetched")
    port = _port(url)
    if port not in USUAL_PORTS and not allowed.has_port(port):
        raise AddressRefusedError(f"{host}: port {port} is not reached, only 80 and 443")


async def check_reachable(url: httpx.URL, allowed: AllowedHosts, resolve: Resolver) -> None:
    """Check that a request to `url` would not be refused now. A name that cannot be resolved passes.

    Raises:
        AddressRefusedError: it would be refused.
    """
    check_url(url, allowed)
    try:
        async with asyncio.timeout(RESOLVE_SECONDS):
            found = await resolve(url.host, _port(url))
    except (TimeoutError, OSError):
        return
    for text in found:
        check_address(url.host, _port(url), ip_address(text), allowed)


def check_address(host: str, port: int, address: Address, allowed: AllowedHosts) -> None:
    """Check the IP address and port that a connection to `host` would go to.

    Raises:
        AddressRefusedError: the address is not public or the port not 80 or 443, and `allowed` has no entry.
    """
    if allowed.allow(host.lower(), port, address):
        return
    if port not in USUAL_PORTS:
        raise AddressRefusedError(f"{host}: port {port} is not reached, only 80 and 443")
    reason = why_refused(address)
    if reason:
        where = host if host == str(address) else f"{host} leads to {address}, which"
        raise AddressRefusedError(f"{where} is not reached: {reason}")


def why_refused(address: Address) -> str | None:
    """Why `address` is not on the public Internet; None if it is."""
    for network, reason in _NETWORKS:
        if address in network:
            return reason
    if isinstance(address, IPv6Address) and (address not in _PUBLIC_IPV6 or address.scope_id):
        return "not a public IPv6 address"
    if address.is_loopback:
        return "loopback"
    if address.is_link_local:
        return "link-local"
    if address.is_multicast:
        return "multicast"
    return None if address.is_global and not address.is_reserved else "private or reserved"


async def system_resolver(host: str, port: int) -> list[str]:
    """The addresses of `host` from the system's resolver; an IP address is returned as it is."""
    if _is_plain_address(host):
        return [host]
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


def _port(url: httpx.URL) -> int:
    return url.port or {"http": 80, "https": 443}[url.scheme]


def _looks_like_number(host: str) -> bool:
    """Whether a resolver may read `host` as an IPv4 address: its last label is a number in some base."""
    return re.fullmatch(r"\d+|0x[0-9a-f]*", host.rstrip(".").rpartition(".")[2]) is not None


def _is_plain_address(host: str) -> bool:
    try:
        return ":" in host or str(ip_address(host)) == host
    except ValueError:
        return False
