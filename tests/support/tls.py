"""A Temporal server behind TLS, like in clusters."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from asyncio import StreamReader, StreamWriter
from collections.abc import AsyncIterator
from pathlib import Path


@contextlib.asynccontextmanager
async def behind_tls(address: str, folder: Path, *, mutual: bool = False) -> AsyncIterator[str]:
    """The address of a TLS proxy for `address`; `folder` has `server.pem`, `server.key` and `ca.pem`.

    With `mutual`, clients need a certificate that `ca.pem` signed.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "server.pem", folder / "server.key")
    context.set_alpn_protocols(["h2"])
    if mutual:
        context.load_verify_locations(folder / "ca.pem")
        context.verify_mode = ssl.CERT_REQUIRED
    host, _, port = address.partition(":")

    async def pass_on(reader: StreamReader, writer: StreamWriter) -> None:
        there, back = await asyncio.open_connection(host, int(port))

        async def pump(source: StreamReader, sink: StreamWriter) -> None:
            with contextlib.suppress(OSError):
                while data := await source.read(65536):
                    sink.write(data)
            sink.close()

        await asyncio.gather(pump(reader, back), pump(there, writer))

    server = await asyncio.start_server(pass_on, "127.0.0.1", 0, ssl=context)
    try:
        yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
