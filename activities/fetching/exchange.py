"""One request and its answer, with limits on time and on bytes, before and after decompression."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

import httpx
from temporalio.exceptions import ApplicationError

from activities.calls.retry_header import parse_retry_after
from activities.fetching.guard import AddressRefusedError
from common.errors import permanent
from common.flaws import flaw_of

MAX_SECONDS = 60.0
# How long to leave a busy site alone if it does not say how long.
USUAL_PAUSE = timedelta(minutes=1)


@dataclass(frozen=True)
class HttpAnswer:
    """What a server answered. `body` is decompressed; `cut`: it was longer than the limit."""

    url: str
    status: int
    headers: httpx.Headers
    body: bytes
    cut: bool

    @property
    def media_type(self) -> str:
        """Without parameters, in lower case; guessed from the first bytes if the server does not say."""
        said = str(self.headers.get("content-type", "")).partition(";")[0].strip().lower()
        if said:
            return said
        start = self.body[:1024].lstrip().lower()
        if start.startswith(b"%pdf-"):
            return "application/pdf"
        return "text/html" if start.startswith((b"<!doctype html", b"<html")) else "text/plain"


async def exchange(
    client: httpx.AsyncClient,
    url: str,
    *,
    max_bytes: int,
    wanted: Collection[str] = (),
    headers: Mapping[str, str] | None = None,
    seconds: float = MAX_SECONDS,
) -> HttpAnswer:
    """GET `url`; a redirect is an answer too.

    Args:
        client: from `activities.fetching.guard.guarded_client`.
        url: absolute.
        max_bytes: limit for the body, both as sent and decompressed; reading stops there.
        wanted: media types; the body of a successful answer of another type is not read. Empty: any.
        headers: sent in addition to the client's.
        seconds: timeout for the whole exchange, however slowly the body arrives.

    Raises:
        ApplicationError: permanent: `AddressRefused`; retryable: `SiteTimeout`, `SiteUnreachable`.
    """
    sent = {"Accept-Encoding": "gzip", **(headers or {})}
    try:
        async with asyncio.timeout(seconds), client.stream("GET", url, headers=sent) as response:
            answer = HttpAnswer(url, response.status_code, response.headers, b"", False)
            said = "content-type" in response.headers
            if said and wanted and response.is_success and answer.media_type not in wanted:
                return answer
            body, cut = await _read(response, max_bytes)
            return replace(answer, body=body, cut=cut)
    except (AddressRefusedError, httpx.InvalidURL, httpx.UnsupportedProtocol, UnicodeError) as error:
        raise permanent("AddressRefused", str(error)) from error
    except (TimeoutError, httpx.TimeoutException) as error:
        raise ApplicationError(f"{url}: no whole answer within {seconds:g} s", type="SiteTimeout") from error
    except (httpx.TransportError, zlib.error) as error:
        if "location header" in str(error):  # httpx parses it although it does not follow redirects
            raise permanent("AddressRefused", f"{url}: its redirect leads to no address") from error
        # Errors about malformed answers may quote them; keep the text only of connection errors.
        why = f": {error}" if isinstance(error, httpx.NetworkError | httpx.ProxyError) else ""
        raise ApplicationError(f"{url}: {flaw_of(error)}{why}", type="SiteUnreachable") from error


def pause_of(headers: Mapping[str, str], now: datetime | None = None) -> timedelta:
    """How long Retry-After says to wait, from a second to a day; a minute if it says nothing usable."""
    return parse_retry_after(headers.get("retry-after"), now or datetime.now(UTC)) or USUAL_PAUSE


async def _read(response: httpx.Response, most: int) -> tuple[bytes, bool]:
    """The body, decompressed here because httpx has no size limit and accepts nested content codings."""
    coding = response.headers.get("content-encoding", "").strip().lower()
    if coding not in ("", "identity", "gzip", "x-gzip", "deflate"):
        raise permanent("AddressRefused", f"{response.url}: the content coding {coding[:40]!r} is not read")
    unpack = zlib.decompressobj(zlib.MAX_WBITS | 32) if coding not in ("", "identity") else None
    body, received = bytearray(), 0
    async for piece in response.aiter_raw():
        received += len(piece)
        while unpack and piece and len(body) <= most:
            if unpack.eof:  # gzip may have several members
                unpack = zlib.decompressobj(zlib.MAX_WBITS | 32)
            body += unpack.decompress(piece, most + 1 - len(body))
            piece = unpack.unused_data
        body += piece if not unpack else b""
        if len(body) > most or received > most:
            return bytes(body[:most]), True
    if unpack and received and not unpack.eof:
        raise zlib.error("the compressed body is cut off")
    return bytes(body), False
