"""A real SMTP server on loopback that keeps the mails it accepts and fails on request."""

from __future__ import annotations

import asyncio
import datetime
import ipaddress
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path
from typing import Any

from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

USER, PASSWORD = "agents", "s3cret pässword"


@dataclass
class ReceivedMail:
    """A mail that the server accepted."""

    sender: str
    recipient: str
    data: bytes

    @property
    def mail(self) -> EmailMessage:
        found = message_from_bytes(self.data, policy=policy.default)
        assert isinstance(found, EmailMessage)
        return found


@dataclass
class SmtpRecorder:
    """The server; `taken` has every mail that arrived completely, acknowledged or not.

    `script` is a list of faults; each is used by the next connection that reaches its stage: `rcpt 450 TEXT`,
    `mail 421 TEXT`, `data 552 TEXT` (after the content), `drop rcpt`, `drop data` (it has the mail but closes
    the connection without an answer), `hold data` (it has the mail and answers only after `release`).
    """

    taken: list[ReceivedMail] = field(default_factory=list)
    script: list[str] = field(default_factory=list)
    struck: list[str] = field(default_factory=list)
    connections: int = 0
    signed_in: int = 0
    encrypted: int = 0
    port: int = 0
    holding: asyncio.Event = field(default_factory=asyncio.Event)
    release: asyncio.Event = field(default_factory=asyncio.Event)

    def to(self, recipient: str) -> list[ReceivedMail]:
        return [each for each in self.taken if each.recipient == recipient]

    def _fault(self, stage: str) -> str:
        """Take and return the next fault if it is for this stage."""
        if self.script and stage in self.script[0].split()[:2]:
            fault = self.script.pop(0)
            self.struck.append(fault)
            return fault
        return ""

    async def handle_MAIL(
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        self.connections += 1
        self.encrypted += server.transport is not None and bool(server.transport.get_extra_info("ssl_object"))
        if fault := self._fault("mail"):
            return fault.partition(" ")[2]
        envelope.mail_from = address
        return "250 OK"

    async def handle_RCPT(
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        fault = self._fault("rcpt")
        if fault.startswith("drop"):
            assert server.transport is not None
            server.transport.abort()
        elif fault:
            return fault.partition(" ")[2]
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        fault = self._fault("data")
        if fault.startswith("data"):
            return fault.partition(" ")[2]
        assert isinstance(envelope.content, bytes)
        self.taken.append(ReceivedMail(envelope.mail_from or "", envelope.rcpt_tos[0], envelope.content))
        if fault.startswith("drop"):
            assert server.transport is not None
            server.transport.abort()
        elif fault.startswith("hold"):
            self.holding.set()
            await self.release.wait()
        return "250 OK"

    def authenticate(
        self, server: SMTP, session: Session, envelope: Envelope, mechanism: str, data: Any
    ) -> AuthResult:
        right = isinstance(data, LoginPassword) and (data.login, data.password) == (
            USER.encode(),
            PASSWORD.encode(),
        )
        self.signed_in += right
        return AuthResult(success=right, handled=False)


@asynccontextmanager
async def smtp_server(
    *, tls: ssl.SSLContext | None = None, implicit: bool = False, auth: bool = False
) -> AsyncIterator[SmtpRecorder]:
    """A server on a free port. With `tls` it offers STARTTLS; with `implicit` it uses TLS from the start."""
    recorder = SmtpRecorder()
    options: dict[str, Any] = {"hostname": "localhost"}
    if tls is not None and not implicit:
        options |= {"tls_context": tls, "require_starttls": True}
    if auth:
        options |= {
            "authenticator": recorder.authenticate,
            "auth_required": True,
            "auth_require_tls": tls is not None and not implicit,
        }
    connections: list[SMTP] = []

    def connection() -> SMTP:
        connections.append(SMTP(recorder, **options))
        return connections[-1]

    loop = asyncio.get_running_loop()
    server = await loop.create_server(connection, "127.0.0.1", 0, ssl=tls if implicit else None)
    recorder.port = server.sockets[0].getsockname()[1]
    try:
        yield recorder
    finally:
        server.close()
        for each in connections:
            if each.transport is not None:
                each.transport.abort()


def certificate(folder: Path) -> tuple[ssl.SSLContext, Path]:
    """A server's TLS context for 127.0.0.1 and localhost, and the certificate file for clients to trust."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.UTC)
    names = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
    built = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = folder / "certificate.pem"
    pem.write_bytes(built.public_bytes(serialization.Encoding.PEM))
    private = folder / "key.pem"
    private.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem, private)
    return context, pem
