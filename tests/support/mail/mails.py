"""Raw mails as found in mailboxes: one function for each kind, all invented."""

from __future__ import annotations

from email.message import EmailMessage
from email.policy import SMTP

TOKEN = "abcdefghijklmnop" + "qrstuvwxyz23"
ADDRESS = f"answers+{TOKEN}@example.com"
LETTER_ID = f"<{TOKEN}@example.com>"


def mail(text: str = "Yes, Tuesday suits me.\n", html: str = "", **headers: str) -> bytes:
    """An answer to the letter that `TOKEN` names. `headers`: `_` stands for `-`; empty ones are left out."""
    message = EmailMessage(policy=SMTP)
    told = {
        "Delivered-To": ADDRESS,
        "From": "Bob B <bob@example.com>",
        "To": ADDRESS,
        "Subject": "Re: A talk on Tuesday?",
        "Date": "Mon, 03 Aug 2026 10:00:00 +0200",
        "Message-ID": "<answer-1@example.com>",
        "In-Reply-To": LETTER_ID,
        **{name.replace("_", "-"): value for name, value in headers.items()},
    }
    for name, value in told.items():
        if value:
            message[name] = value
    if text:
        message.set_content(text)
        if html:
            message.add_alternative(html, subtype="html")
    elif html:
        message.set_content(html, subtype="html")
    return message.as_bytes()


def raw(body: bytes, content: str, encoding: str = "8bit", subject: str = "Re: hello") -> bytes:
    """A mail with exactly this body."""
    head = (
        f"Delivered-To: {ADDRESS}\r\nFrom: bob@example.com\r\nTo: {ADDRESS}\r\nSubject: {subject}\r\n"
        f"Message-ID: <raw@example.com>\r\nMIME-Version: 1.0\r\nContent-Type: {content}\r\n"
        f"Content-Transfer-Encoding: {encoding}\r\n\r\n"
    )
    return head.encode() + body


def dsn(action: str = "failed", *, to: str = ADDRESS, original: bool = True) -> bytes:
    """A delivery status notification (RFC 3464) as mail servers send it."""
    letter = f"\r\n--b\r\nContent-Type: text/rfc822-headers\r\n\r\nMessage-ID: {LETTER_ID}\r\n"
    return (
        f"Return-Path: <>\r\nDelivered-To: {to}\r\nFrom: MAILER-DAEMON@mx.example.com\r\nTo: {to}\r\n"
        "Subject: Undelivered Mail Returned to Sender\r\nAuto-Submitted: auto-replied\r\n"
        "Message-ID: <dsn@mx>\r\nMIME-Version: 1.0\r\n"
        'Content-Type: multipart/report; report-type=delivery-status; boundary="b"\r\n\r\n'
        "--b\r\nContent-Type: text/plain\r\n\r\nThe mail system could not deliver your message.\r\n\r\n"
        "--b\r\nContent-Type: message/delivery-status\r\n\r\nReporting-MTA: dns; mx.example.com\r\n\r\n"
        f"Final-Recipient: rfc822; bob@example.com\r\nAction: {action}\r\nStatus: 5.1.1\r\n"
        f"Diagnostic-Code: smtp; 550 5.1.1 no such user\r\n{letter if original else ''}\r\n--b--\r\n"
    ).encode()


def odd_dsn(
    status: str, content: str = "message/delivery-status", headers: str = "", sender: str = "MAILER-DAEMON@mx"
) -> bytes:
    """A delivery status notification with an arbitrary machine-readable part."""
    return (
        f"Delivered-To: {ADDRESS}\r\nFrom: {sender}\r\nTo: {ADDRESS}\r\nSubject: Delivery report\r\n"
        "Message-ID: <dsn@mx>\r\nMIME-Version: 1.0\r\n"
        'Content-Type: multipart/report; report-type=delivery-status; boundary="b"\r\n\r\n'
        "--b\r\nContent-Type: text/plain\r\n\r\nAbout your message.\r\n\r\n"
        f"--b\r\nContent-Type: {content}\r\n{headers}\r\n{status}\r\n--b--\r\n"
    ).encode()


def qmail_bounce() -> bytes:
    """A bounce in the style of qmail, older than RFC 3464: plain text only."""
    return (
        "Return-Path: <>\r\nFrom: MAILER-DAEMON@mx.example.com\r\nTo: answers@example.com\r\n"
        "Subject: failure notice\r\nMessage-ID: <qmail@mx>\r\n\r\n"
        "Hi. This is the qmail-send program at mx.example.com.\r\n"
        "I'm afraid I wasn't able to deliver your message to the following addresses.\r\n"
        "This is a permanent error; I've given up. Sorry it didn't work out.\r\n\r\n"
        "<bob@example.com>:\r\nSorry, no mailbox here by that name.\r\n\r\n"
        "--- Below this line is a copy of the message.\r\n\r\n"
        f"Return-Path: <{ADDRESS}>\r\nMessage-ID: {LETTER_ID}\r\nTo: bob@example.com\r\n\r\nHi\r\n"
    ).encode()


def exim_bounce() -> bytes:
    """A bounce of Exim, which names the failed recipient in a header of its own."""
    return (
        f"Return-Path: <>\r\nDelivered-To: {ADDRESS}\r\nX-Failed-Recipients: bob@example.com\r\n"
        "Auto-Submitted: auto-replied\r\nFrom: Mail Delivery System <Mailer-Daemon@mx.example.com>\r\n"
        f"To: {ADDRESS}\r\nSubject: Mail delivery failed: returning message\r\nMessage-ID: <exim@mx>\r\n\r\n"
        "This message was created automatically by mail delivery software.\r\n\r\n"
        "  bob@example.com\r\n    host mx2.example.com: 550 no such user\r\n"
    ).encode()
