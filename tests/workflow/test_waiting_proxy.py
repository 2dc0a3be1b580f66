"""A worker's client reaches a server behind TLS, as clusters are, through its own proxy."""

from __future__ import annotations

import asyncio
import os
import ssl
from asyncio import StreamReader, StreamWriter
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from common.settings import Settings
from common.temporal.connect import connect
from common.temporal.waiting_proxy import WaitingProxy


async def test_tls_goes_through_from_end_to_end(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The certificate is the server's, and the client checks it."""
    context, authority = _certified(tmp_path)
    context.set_alpn_protocols(["h2"])
    host, _, port = os.environ["TEMPORAL_ADDRESS"].partition(":")

    async def pass_on(reader: StreamReader, writer: StreamWriter) -> None:
        there, back = await asyncio.open_connection(host, int(port))

        async def pump(source: StreamReader, sink: StreamWriter) -> None:
            while data := await source.read(65536):
                sink.write(data)

        with suppress(OSError):
            await asyncio.gather(pump(reader, back), pump(there, writer))

    before = await asyncio.start_server(pass_on, "127.0.0.1", 0, ssl=context)
    monkeypatch.setenv("TEMPORAL_ADDRESS", f"localhost:{before.sockets[0].getsockname()[1]}")
    monkeypatch.setenv("TEMPORAL_TLS", "true")
    monkeypatch.setenv("TEMPORAL_TLS_SERVER_CA_CERT_PATH", str(authority))
    client = await connect(settings, proxy=WaitingProxy())
    assert await client.service_client.check_health()
    before.close()


def _certified(folder: Path) -> tuple[ssl.SSLContext, Path]:
    """A server's context for localhost, and the file of the authority that has signed its certificate."""
    keys = [ec.generate_private_key(ec.SECP256R1()) for _ in range(2)]
    names = [
        x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, each)]) for each in ("authority", "localhost")
    ]
    now, files = datetime.now(UTC), [folder / "authority.pem", folder / "server.pem"]
    for number, file in enumerate(files):
        signed = (
            x509.CertificateBuilder()
            .subject_name(names[number])
            .issuer_name(names[0])
            .public_key(keys[number].public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(days=1))
            .not_valid_after(now + timedelta(days=1))
            .add_extension(x509.BasicConstraints(ca=number == 0, path_length=None), critical=True)
            .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
            .sign(keys[0], hashes.SHA256())
        )
        file.write_bytes(signed.public_bytes(serialization.Encoding.PEM))
    plain = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    with files[1].open("ab") as server:
        server.write(keys[1].private_bytes(serialization.Encoding.PEM, *plain))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(files[1])
    return context, files[0]
