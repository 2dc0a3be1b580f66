"""The guard: nothing that is not public is reached, however it is spelt, resolved or redirected to."""

from __future__ import annotations

import re
import ssl
import subprocess
from collections.abc import Iterable, Sequence
from ipaddress import ip_address
from pathlib import Path

import httpcore
import httpx
import pytest

from activities.fetching.guard import AddressRefusedError, GuardedTransport, guarded_client, why_refused
from common.allowed_hosts import AllowedHosts
from tests.support.web import Route, WebServer, redirect

PUBLIC = "93.184.215.14"


def words(text: str) -> list[str]:
    return text.split()


class Wire(httpcore.AsyncNetworkBackend):
    """In place of the network: it records where connections would have gone, and makes none."""

    def __init__(self) -> None:
        self.connected: list[str] = []

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        self.connected.append(f"{host} {port}")
        raise httpcore.ConnectError("no network in this test")


class Names:
    """A resolver whose answers for a name follow each other; the last stays."""

    def __init__(self, answers: dict[str, list[list[str]]]) -> None:
        self.answers = answers
        self.asked: list[str] = []

    async def __call__(self, host: str, port: int) -> Sequence[str]:
        self.asked.append(host)
        answers = self.answers.get(host, [[host]])
        return answers.pop(0) if len(answers) > 1 else answers[0]


def on_wire(client: httpx.AsyncClient) -> Wire:
    wire = Wire()
    transport = client._transport
    assert isinstance(transport, GuardedTransport)
    transport._pool._network_backend._network = wire  # type: ignore[attr-defined]
    return wire


ADDRESSES = words("""
127.0.0.1 127.1.2.3 0.0.0.0 0.1.2.3 10.0.0.1 10.255.255.255 172.16.0.1 172.31.255.254 192.168.0.1
192.168.255.1 100.64.0.1 100.100.100.200 100.127.255.254
169.254.0.1 169.254.169.254 169.254.170.2 168.63.129.16 192.0.0.192
192.0.2.1 198.18.0.1 198.19.255.255 198.51.100.7 203.0.113.9 192.88.99.1 224.0.0.1 239.255.255.250 240.0.0.1
255.255.255.255
::1 :: ::ffff:127.0.0.1 ::ffff:10.0.0.1 ::ffff:93.184.215.14 ::127.0.0.1 64:ff9b::7f00:1 64:ff9b::a9fe:a9fe
64:ff9b:1::a00:1 2002:7f00:1:: 2002:a9fe:a9fe::1 2001:0:7f00:1::1 fc00::1 fd00:ec2::254 fd12:3456::1 fe80::1
fe80::1%1 fec0::1 ff02::1 ff0e::1 2001:db8::1 100::1 3fff::1 4000::1 5f00::1
""")

SPELLINGS = words("""
http://127.0.0.1/ http://127.1/ http://127.0.1/ http://0x7f000001/ http://0x7f.0.0.1/ http://2130706433/
http://0177.0.0.1/ http://017700000001/ http://127.0.0.1./ http://8.8.8.8./ http://0/ http://0x/ http://8.8/
http://134744072/ http://[::1]/ http://[::ffff:7f00:1]/ http://[0:0:0:0:0:ffff:127.0.0.1]/
http://[fe80::1%25eth0]/
http://127。0。0。1/ http://１２７.0.0.1/ http://①②⑦.⓪.⓪.①/ http://localhost/ http://LOCALHOST/
http://sub.localhost/
http://user@public.example/ http://user:secret@public.example/ http://public.example:22/
http://public.example:8080/
http://public.example:6379/ https://public.example:80443/ ftp://public.example/
file:///etc/passwd gopher://public.example/
data:text/plain,x javascript:1 unix:///var/run/docker.sock ws://public.example/ //public.example/
http:///etc http:/etc
http://public.example@127.0.0.1/ http://127.0.0.1#@public.example/ http://127.0.0.1:80\\@public.example/
http://127.0.0.1%2f.public.example/ http://127.0.0.1%00.public.example/ http://private.example/
http://mixed.example/
http://mapped.example/ http://metadata.example/ https://private.example/
""")

NAMES = {
    "public.example": [[PUBLIC]],
    "localhost": [["127.0.0.1"]],
    "sub.localhost": [["127.0.0.1"]],
    "private.example": [["10.0.0.5"]],
    "mixed.example": [[PUBLIC, "127.0.0.1"]],
    "mapped.example": [["::ffff:169.254.169.254"]],
    "metadata.example": [["169.254.169.254"]],
}


def test_the_tables_hold_at_least_sixty_cases() -> None:
    """Each way in is written down."""
    assert len(set(ADDRESSES)) + len(set(SPELLINGS)) >= 60


@pytest.mark.parametrize("address", ADDRESSES)
async def test_no_connection_goes_to_an_address_that_is_not_public(address: str) -> None:
    """A name that leads there is refused before a connection is tried."""
    assert why_refused(ip_address(address))
    async with guarded_client(resolve=Names({"name.example": [[address]]})) as client:
        wire = on_wire(client)
        with pytest.raises(AddressRefusedError, match=r"name\.example leads to"):
            await client.get("http://name.example/")
    assert wire.connected == []


@pytest.mark.parametrize("url", SPELLINGS)
async def test_no_spelling_gets_through(url: str) -> None:
    """Odd numbers, zones, credentials, schemes, ports, look-alike digits: refused, or no address at all."""
    async with guarded_client(
        resolve=Names({name: list(answers) for name, answers in NAMES.items()})
    ) as client:
        wire = on_wire(client)
        with pytest.raises((AddressRefusedError, httpx.InvalidURL, httpx.UnsupportedProtocol)):
            await client.get(url)
    assert wire.connected == []


@pytest.mark.parametrize(
    "url", [url for url in SPELLINGS if "//" in url and not re.search("example|sub", url)]
)
async def test_the_systems_own_resolver_is_no_way_round(url: str) -> None:
    """As above with the names that this system itself would understand."""
    async with guarded_client() as client:
        wire = on_wire(client)
        with pytest.raises((AddressRefusedError, httpx.InvalidURL, httpx.UnsupportedProtocol)):
            await client.get(url)
    assert wire.connected == []


@pytest.mark.parametrize("address", [PUBLIC, "8.8.8.8", "1.1.1.1", "2606:2800:21f:cb07:6820:80da:af6b:8b2c"])
@pytest.mark.parametrize(("scheme", "port"), [("http", 80), ("https", 443)])
async def test_public_addresses_are_reached(address: str, scheme: str, port: int) -> None:
    """The guard is no wall: the connection goes to the address that was checked."""
    async with guarded_client(resolve=Names({"name.example": [[address]]})) as client:
        wire = on_wire(client)
        with pytest.raises(httpx.ConnectError, match="no network in this test"):
            await client.get(f"{scheme}://name.example/")
    assert wire.connected == [f"{address} {port}"]


async def test_a_name_that_changes_its_answer_gains_nothing() -> None:
    """The name is asked for once a connection, and what was checked is what is connected to."""
    names = Names({"rebind.example": [[PUBLIC], ["127.0.0.1"]]})
    async with guarded_client(resolve=names) as client:
        wire = on_wire(client)
        with pytest.raises(httpx.ConnectError):
            await client.get("http://rebind.example/")
        assert names.asked == ["rebind.example"]
        with pytest.raises(AddressRefusedError):
            await client.get("http://rebind.example/")
    assert wire.connected == [f"{PUBLIC} 80"]


async def test_each_public_address_of_a_name_is_tried() -> None:
    """A host that is down at one address is reached at the next, and only ever at checked ones."""
    async with guarded_client(resolve=Names({"two.example": [["1.1.1.1", "8.8.8.8"]]})) as client:
        wire = on_wire(client)
        with pytest.raises(httpx.ConnectError):
            await client.get("http://two.example/")
    assert wire.connected == ["1.1.1.1 80", "8.8.8.8 80"]


async def test_a_name_without_an_answer_is_no_refusal() -> None:
    """It can be tried again later."""

    async def nothing(host: str, port: int) -> Sequence[str]:
        raise OSError("no such name")

    async def empty(host: str, port: int) -> Sequence[str]:
        return []

    for resolve in (nothing, empty):
        async with guarded_client(resolve=resolve) as client:
            with pytest.raises(httpx.ConnectError):
                await client.get("http://gone.example/")


@pytest.mark.parametrize(
    "target",
    [
        "http://{inner}/secret",
        "//{inner}/secret",
        "http://localhost:{port}/secret",
        "http://169.254.169.254/latest/meta-data/",
        "http://[::1]:{port}/secret",
        "http://[::ffff:127.0.0.3]:{port}/secret",
        "http://0x7f000003:{port}/secret",
        "http://user:pass@{outer}/open",
        "file:///etc/passwd",
        "/hop",
    ],
)
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_redirects_into_the_inside_are_refused(target: str, status: int) -> None:
    """Every hop is checked; the server inside never hears of it."""
    with (
        WebServer({"/secret": Route("the key")}, "127.0.0.3") as inner,
        WebServer({"/open": Route("hello")}, "127.0.0.2") as outer,
    ):
        to = target.format(inner=inner.host, port=inner.port, outer=outer.host)
        outer.routes["/go"] = redirect(to, status)
        outer.routes["/hop"] = redirect(inner.url("/secret"), status)
        async with guarded_client(AllowedHosts.parse(outer.host)) as client:
            assert (await client.get(outer.url("/open"))).text == "hello"
            with pytest.raises((AddressRefusedError, httpx.UnsupportedProtocol)):
                await client.get(outer.url("/go"), follow_redirects=True)
        assert outer.hits("/go"), "the redirect was met"
        assert inner.log == []


async def test_ones_own_hosts_are_reached_with_the_allow_list_and_not_without() -> None:
    """An entry opens one host and port, not its neighbours."""
    with WebServer({"/": Route("hello")}, "127.0.0.2") as site, WebServer({}, "127.0.0.2") as other:
        for entry in (site.host, f"127.0.0.0/8:{site.port}"):
            async with guarded_client(AllowedHosts.parse(entry)) as client:
                assert (await client.get(site.url())).text == "hello"
                with pytest.raises(AddressRefusedError):
                    await client.get(other.url())
        names = Names({"wiki.intranet": [["127.0.0.2"]], "evil.example": [["127.0.0.2"]]})
        async with guarded_client(AllowedHosts.parse(f"wiki.intranet:{site.port}"), resolve=names) as client:
            assert (await client.get(f"http://wiki.intranet:{site.port}/")).text == "hello"
            assert site.log[-1].host == f"wiki.intranet:{site.port}"
            with pytest.raises(AddressRefusedError):
                await client.get(f"http://evil.example:{site.port}/")
        async with guarded_client() as client:
            with pytest.raises(AddressRefusedError):
                await client.get(site.url())
        assert other.log == []


@pytest.mark.parametrize(
    "entry",
    ["a:b", "a:0", "a:70000", "10.0.0.0/33", "10.0.0.256", "http://a", "a b", "[::1", "a..b", "0x7f.1"],
)
def test_an_entry_that_cannot_be_read_is_named(entry: str) -> None:
    """A misspelt network must not pass for a name, nor be passed over."""
    with pytest.raises(ValueError, match=r"is not a host|has no port"):
        AllowedHosts.parse(f"good.example, {entry}")


def test_entries_of_every_form_are_read() -> None:
    """Names, addresses and networks, of both families, with and without a port."""
    hosts = AllowedHosts.parse(" Wiki.intranet ,10.1.0.0/16:8080, [fd00::7]:8443,fd01::/64 ,127.0.0.1, ")
    assert len(hosts.entries) == 5
    assert hosts.allow("wiki.intranet", 443, ip_address("10.9.9.9"))
    assert not hosts.allow("wiki.intranet", 8080, ip_address("10.9.9.9"))
    assert hosts.allow("x", 8080, ip_address("10.1.2.3"))
    assert not hosts.allow("x", 80, ip_address("10.1.2.3"))
    assert hosts.allow("x", 8443, ip_address("fd00::7"))
    assert hosts.allow("x", 80, ip_address("fd01::1"))
    assert not hosts.allow("x", 80, ip_address("fd02::1"))
    assert not AllowedHosts.parse("").allow("x", 80, ip_address("127.0.0.1"))


async def test_no_site_leaves_a_cookie_or_finds_a_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """One client serves every agent, and goes nowhere else than where it was checked to go."""
    with WebServer({"/": Route("hello", headers={"Set-Cookie": "id=7"})}, "127.0.0.2") as site:
        monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
        monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:9")
        async with guarded_client(AllowedHosts.parse(site.host)) as client:
            for _ in range(2):
                assert (await client.get(site.url())).text == "hello"
        assert all("cookie" not in hit.headers for hit in site.log)


async def test_tls_goes_by_the_name_though_the_connection_goes_to_the_address(tmp_path: Path) -> None:
    """The server sees the name, and its certificate must be for that name."""
    key, certificate = tmp_path / "key.pem", tmp_path / "cert.pem"
    options = "req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=site.example"
    options += " -addext subjectAltName=DNS:site.example"
    made = subprocess.run(
        ["openssl", *options.split(), "-keyout", str(key), "-out", str(certificate)],
        capture_output=True,
        check=False,
    )
    assert made.returncode == 0, made.stderr
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    seen: list[str | None] = []
    context.sni_callback = lambda _socket, name, _context: seen.append(name)
    trusting = ssl.create_default_context(cafile=str(certificate))
    names = Names({"site.example": [["127.0.0.2"]], "other.example": [["127.0.0.2"]]})
    with WebServer({"/": Route("hello")}, "127.0.0.2", tls=context) as site:
        allowed = AllowedHosts.parse(f"127.0.0.2:{site.port}")
        async with guarded_client(allowed, resolve=names, verify=trusting) as client:
            assert (await client.get(f"https://site.example:{site.port}/")).text == "hello"
            assert site.log[-1].host == f"site.example:{site.port}"
            # Another name for the same address gets no connection of the first one's.
            with pytest.raises(httpx.ConnectError, match=r"(?i)certificate"):
                await client.get(f"https://other.example:{site.port}/")
    assert seen == ["site.example", "other.example"]
    assert len(site.log) == 1
