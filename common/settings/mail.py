"""Settings of mail: the outgoing server, the sender, and the mailbox that answers arrive in."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from email.utils import parseaddr
from typing import Annotated, Self
from urllib.parse import urlsplit

from pydantic import PlainValidator, field_validator, model_validator

from common.settings.base import Group, setting

# The local part of an address has at most 64 characters (RFC 5321); we add a `+` and 28 of our own.
LONGEST_LOCAL_PART = 64 - 29
LOCAL = ("127.0.0.1", "::1", "localhost")
PORTS = {"SMTP": {"smtps": 465, "smtp": 587}, "IMAP": {"imaps": 993, "imap": 143}}


@dataclass(frozen=True)
class MailServer:
    """Where a mail server is and who signs in.

    `tls`: encrypted from the first byte; otherwise `start_tls` asks for it, except on this machine.
    """

    host: str
    port: int
    tls: bool
    start_tls: bool
    user: str
    password: str = field(repr=False)


def is_address(text: str) -> bool:
    """Whether ``text`` is one plain mail address: ASCII, nothing quoted, nothing that could end a header."""
    local = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+(\.[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*"
    label = r"[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
    return (
        len(text) <= 254
        and re.fullmatch(rf"{local}@{label}(\.{label})*", text) is not None
        and len(text.rpartition("@")[0]) <= 64
    )


def _mailbox_of(text: str) -> tuple[str, str]:
    """Name and address."""
    name, address = parseaddr(text)
    if text and not is_address(address):
        raise ValueError("give a mail address, as agents@example.com")
    return name, address


class MailSettings(Group):
    """How mail goes out and comes in; addresses may be empty."""

    # Secret, because there may be a password before an @.
    smtp_url: str = setting(
        "HIBERNAUT_SMTP",
        "Server for outgoing mail: `smtps://host:465`, or `smtp://host:587`, which is encrypted by "
        "STARTTLS except on this machine. Empty: no mail goes out.",
        secret=True,
    )
    smtp_user: str = setting("HIBERNAUT_SMTP_USER", "User name for that server. Empty: no sign-in.")
    smtp_password: str = setting("HIBERNAUT_SMTP_PASSWORD", "Password for that server.", secret=True)
    mail_from: Annotated[tuple[str, str], PlainValidator(_mailbox_of)] = setting(
        "HIBERNAUT_MAIL_FROM", "Sender of mail, `agents@example.com` or `Agents <agents@example.com>`."
    )
    reply_to: str = setting(
        "HIBERNAUT_MAIL_REPLY_TO",
        "Address of the mailbox for answers, `answers@example.com`; mail to `answers+anything@` must "
        "arrive there too. Empty: letters have no address for answers.",
    )
    imap_url: str = setting(
        "HIBERNAUT_IMAP",
        "Server of that mailbox: `imaps://host:993`, or `imap://host:143`, encrypted as for SMTP. "
        "Empty: answers are not read. Use the mailbox for nothing else: its mail is moved into folders.",
        secret=True,
    )
    imap_user: str = setting("HIBERNAUT_IMAP_USER", "User name for that mailbox.")
    imap_password: str = setting("HIBERNAUT_IMAP_PASSWORD", "Password for that mailbox.", secret=True)
    imap_prefix: str = setting(
        "HIBERNAUT_IMAP_PREFIX", "Prefix of the folders' names, `INBOX.` if the server requires it."
    )

    @field_validator("reply_to")
    @classmethod
    def _can_be_answered(cls, text: str) -> str:
        if text and not is_address(text):
            raise ValueError("give a mail address, as answers@example.com")
        if len(text.rpartition("@")[0]) > LONGEST_LOCAL_PART:
            raise ValueError(f"at most {LONGEST_LOCAL_PART} characters before the @")
        return text

    @model_validator(mode="after")
    def _is_complete(self) -> Self:
        for server, of, needed, value in (
            (self.smtp, "SMTP", "MAIL_FROM", self.sender),
            (self.imap, "IMAP", "MAIL_REPLY_TO", self.reply_to),
            (self.imap, "IMAP", "IMAP_USER", self.imap_user),
            (self.imap, "IMAP", "IMAP_PASSWORD", self.imap_password),
        ):
            if server and not value:
                raise ValueError(f"HIBERNAUT_{of} is set and HIBERNAUT_{needed} is not: set it, too")
        return self

    @property
    def smtp(self) -> MailServer | None:
        """The server for outgoing mail; None if none is set."""
        return _server("SMTP", self.smtp_url, self.smtp_user, self.smtp_password)

    @property
    def imap(self) -> MailServer | None:
        """The server of the mailbox; None if none is set."""
        return _server("IMAP", self.imap_url, self.imap_user, self.imap_password)

    @property
    def sender_name(self) -> str:
        """The name of the sender."""
        return self.mail_from[0]

    @property
    def sender(self) -> str:
        """The address of the sender."""
        return self.mail_from[1]


def _server(protocol: str, url: str, user: str, password: str) -> MailServer | None:
    if not url:
        return None
    variable, ports = f"HIBERNAUT_{protocol}", PORTS[protocol]
    wanted = " or ".join(f"{scheme}://host:{port}" for scheme, port in ports.items())
    if "@" in url:
        raise ValueError(f"{variable}: say {wanted}, and put who signs in in {variable}_USER")
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port or ports.get(parts.scheme, 0)
    except ValueError:
        host, port = "", 0
    if not (host and port) or parts.path.strip("/") or parts.query or parts.fragment:
        raise ValueError(f"{variable}: say {wanted}")
    if bool(user) != bool(password):
        raise ValueError(f"{variable}_USER and {variable}_PASSWORD go together: set both or neither")
    tls = parts.scheme.endswith("s")
    return MailServer(host, port, tls, not tls and host not in LOCAL, user, password)
