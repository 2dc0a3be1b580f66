"""Settings of mail: the server it goes out by, whom it is from, and the mailbox that answers arrive in."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from email.utils import parseaddr
from urllib.parse import urlsplit

from common.settings.base import Setting, SettingsError, Values

SMTP = Setting(
    "HIBERNAUT_SMTP",
    "",
    "Server that mail goes out by: `smtps://host:465`, or `smtp://host:587`, which is encrypted by STARTTLS "
    "everywhere but on this machine. Empty: no mail goes out.",
)
SMTP_USER = Setting("HIBERNAUT_SMTP_USER", "", "Who signs in there. Empty: nobody does.")
SMTP_PASSWORD = Setting("HIBERNAUT_SMTP_PASSWORD", "", "The password for that.")
MAIL_FROM = Setting(
    "HIBERNAUT_MAIL_FROM", "", "Whom mail is from, `agents@example.com` or `Agents <agents@example.com>`."
)
MAIL_REPLY_TO = Setting(
    "HIBERNAUT_MAIL_REPLY_TO",
    "",
    "Address of the mailbox that answers arrive in, `answers@example.com`; mail to `answers+anything@` has "
    "to arrive there, too. Empty: letters have no address for answers.",
)
IMAP = Setting(
    "HIBERNAUT_IMAP",
    "",
    "Server of that mailbox: `imaps://host:993`, or `imap://host:143`, encrypted as for SMTP. Empty: answers "
    "are not read. The mailbox should be for this alone: what is in it is sorted into folders.",
)
IMAP_USER = Setting("HIBERNAUT_IMAP_USER", "", "Whose mailbox it is there.")
IMAP_PASSWORD = Setting("HIBERNAUT_IMAP_PASSWORD", "", "The password for that.")
IMAP_PREFIX = Setting(
    "HIBERNAUT_IMAP_PREFIX", "", "Put before the names of the folders, `INBOX.` where the server wants it so."
)

TABLE = (
    *(SMTP, SMTP_USER, SMTP_PASSWORD, MAIL_FROM, MAIL_REPLY_TO),
    *(IMAP, IMAP_USER, IMAP_PASSWORD, IMAP_PREFIX),
)

# An address' local part has 64 characters at most (RFC 5321), and a `+` and 28 of them are ours.
LONGEST_LOCAL_PART = 64 - 29
LOCAL = ("127.0.0.1", "::1", "localhost")


@dataclass(frozen=True)
class MailServer:
    """Where a mail server is and who signs in. `tls`: encrypted from the first byte; else `start_tls` asks
    for it. Neither is so on this machine alone.
    """

    host: str
    port: int
    tls: bool
    start_tls: bool
    user: str
    password: str = field(repr=False)


@dataclass(frozen=True)
class MailSettings:
    """How mail goes out and comes in. A server that is None is not used; addresses may be empty."""

    smtp: MailServer | None
    sender_name: str
    sender: str
    reply_to: str
    imap: MailServer | None
    imap_prefix: str

    @classmethod
    def read(cls, value: Values) -> MailSettings:
        """Read the group.

        Raises:
            SettingsError: a value cannot be used, or one that another needs is missing.
        """
        name, sender = parseaddr(value(MAIL_FROM))
        reply_to = value(MAIL_REPLY_TO)
        for setting, address in ((MAIL_FROM, sender), (MAIL_REPLY_TO, reply_to)):
            if value(setting) and not is_address(address):
                raise SettingsError(
                    f"{setting.variable}={value(setting)[:100]}: give a mail address, as agents@example.com."
                )
        if len(reply_to.rpartition("@")[0]) > LONGEST_LOCAL_PART:
            raise SettingsError(
                f"{MAIL_REPLY_TO.variable}={reply_to}: at most {LONGEST_LOCAL_PART} characters before the @."
            )
        smtp = _server(value, SMTP, SMTP_USER, SMTP_PASSWORD, {"smtps": 465, "smtp": 587})
        imap = _server(value, IMAP, IMAP_USER, IMAP_PASSWORD, {"imaps": 993, "imap": 143})
        for server, of, needed in (
            (smtp, SMTP, MAIL_FROM),
            (imap, IMAP, MAIL_REPLY_TO),
            (imap, IMAP, IMAP_USER),
            (imap, IMAP, IMAP_PASSWORD),
        ):
            if server and not value(needed):
                raise SettingsError(f"{of.variable} is set and {needed.variable} is not: set it, too.")
        return cls(
            smtp=smtp,
            sender_name=name,
            sender=sender,
            reply_to=reply_to,
            imap=imap,
            imap_prefix=value(IMAP_PREFIX),
        )


def is_address(text: str) -> bool:
    """Whether ``text`` is one plain mail address: ASCII, nothing quoted, nothing that ends a header."""
    local = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+(\.[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*"
    label = r"[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
    return (
        len(text) <= 254
        and re.fullmatch(rf"{local}@{label}(\.{label})*", text) is not None
        and len(text.rpartition("@")[0]) <= 64
    )


def _server(
    value: Values, setting: Setting, user: Setting, password: Setting, ports: dict[str, int]
) -> MailServer | None:
    text = value(setting)
    if not text:
        return None
    wanted = " or ".join(f"{scheme}://host:{port}" for scheme, port in ports.items())
    if "@" in text:
        # Not repeated: what stands before the @ may be a password.
        raise SettingsError(f"{setting.variable}: say {wanted}, and put who signs in in {user.variable}.")
    try:
        parts = urlsplit(text)
        host, port = parts.hostname or "", parts.port or ports.get(parts.scheme, 0)
    except ValueError:
        host, port = "", 0
    if not (host and port) or parts.path.strip("/") or parts.query or parts.fragment:
        raise SettingsError(f"{setting.variable}={text[:100]}: say {wanted}.")
    if bool(value(user)) != bool(value(password)):
        raise SettingsError(f"{user.variable} and {password.variable} go together: set both or neither.")
    tls = parts.scheme.endswith("s")
    start_tls = not tls and host not in LOCAL
    return MailServer(host, port, tls, start_tls, value(user), value(password))
