"""Limits the size of answers while they are read, so that they cannot fill the memory."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

from activities.llm.failures import AnswerTooLargeError

if TYPE_CHECKING:
    import httpx2


def bounded_client(seconds: float, max_bytes: int) -> httpx2.AsyncClient:
    """An HTTP client for one exchange; it raises `AnswerTooLargeError` once an answer exceeds `max_bytes`."""
    import httpx2

    class BoundedStream(httpx2.AsyncByteStream):
        def __init__(self, stream: httpx2.AsyncByteStream) -> None:
            self._stream = stream

        async def __aiter__(self) -> AsyncIterator[bytes]:
            size = 0
            async for part in self._stream:
                size += len(part)
                _check(size, max_bytes)
                yield part

        async def aclose(self) -> None:
            await self._stream.aclose()

    async def bound(response: httpx2.Response) -> None:
        assert isinstance(response.stream, httpx2.AsyncByteStream)
        response.stream = BoundedStream(response.stream)

    return httpx2.AsyncClient(
        timeout=httpx2.Timeout(seconds, connect=min(seconds, 10)),
        # No compression: a small compressed answer could expand into a large one.
        headers={"Accept-Encoding": "identity"},
        event_hooks={"response": [bound]},
    )


def bound_botocore(client: Any, max_bytes: int, seconds: float) -> None:
    """Limit a boto3 client likewise, and also limit reading to `seconds`: a thread cannot be cancelled.

    botocore has no hook for this, so its HTTP session is wrapped.
    """
    client._endpoint.http_session = _BoundedSession(client._endpoint.http_session, max_bytes, seconds)


class _BoundedSession:
    def __init__(self, session: Any, max_bytes: int, seconds: float) -> None:
        self._session = session
        self._max_bytes = max_bytes
        self._seconds = seconds

    def send(self, request: Any) -> Any:
        # With streaming on, botocore leaves reading the body to us.
        request.stream_output = True
        until = time.monotonic() + self._seconds
        response = self._session.send(request)
        response._content = _read(response, request, self._max_bytes, until)
        return response

    def close(self) -> None:
        self._session.close()


def _read(response: Any, request: Any, max_bytes: int, until: float) -> bytes:
    from botocore.exceptions import ConnectionClosedError, ReadTimeoutError
    from urllib3.exceptions import ProtocolError
    from urllib3.exceptions import ReadTimeoutError as SlowBody

    body = bytearray()
    try:
        # read1 returns what has arrived; waiting for a full block could take forever if the answer trickles.
        while part := response.raw.read1(65536):
            body += part
            _check(len(body), max_bytes)
            if time.monotonic() > until:
                raise ReadTimeoutError(endpoint_url=request.url, error="the answer took too long")
    except SlowBody as error:
        raise ReadTimeoutError(endpoint_url=request.url, error=error) from error
    except ProtocolError as error:
        raise ConnectionClosedError(endpoint_url=request.url, error=error) from error
    promised = response.headers.get("Content-Length", "")
    if promised.isdecimal() and len(body) < int(promised):
        raise ConnectionClosedError(endpoint_url=request.url, error="the body ended early")
    return bytes(body)


def _check(size: int, max_bytes: int) -> None:
    if size > max_bytes:
        raise AnswerTooLargeError(f"over {max_bytes:,} bytes")
