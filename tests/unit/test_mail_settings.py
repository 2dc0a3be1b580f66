"""Settings of mail: what cannot work is said at start, in a line that names the setting."""

from __future__ import annotations

import pytest

from common.settings import Settings, SettingsError

SMTP = {"HIBERNAUT_SMTP": "smtps://mail.example.com", "HIBERNAUT_MAIL_FROM": "Agents <agents@example.com>"}
IMAP = {
    "HIBERNAUT_IMAP": "imaps://mail.example.com",
    "HIBERNAUT_IMAP_USER": "answers",
    "HIBERNAUT_IMAP_PASSWORD": "s3cret",
    "HIBERNAUT_MAIL_REPLY_TO": "answers@example.com",
}


def test_without_settings_there_is_no_mail() -> None:
    mail = Settings.read({}).mail
    assert (mail.smtp, mail.imap, mail.sender) == (None, None, "")


def test_connections_to_other_machines_are_encrypted() -> None:
    """From the first byte or by STARTTLS; only what stays on this machine may be plain."""
    mail = Settings.read({**SMTP, **IMAP}).mail
    assert mail.smtp
    assert mail.imap
    assert (mail.smtp.port, mail.smtp.tls, mail.imap.port, mail.imap.tls) == (465, True, 993, True)
    assert (mail.sender_name, mail.sender) == ("Agents", "agents@example.com")
    assert "s3cret" not in repr(mail)
    for host, start_tls in (("mail.example.com", True), ("127.0.0.1:2525", False), ("[::1]:2525", False)):
        smtp = Settings.read({**SMTP, "HIBERNAUT_SMTP": f"smtp://{host}"}).mail.smtp
        assert smtp
        assert (smtp.tls, smtp.start_tls) == (False, start_tls)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"HIBERNAUT_MAIL_FROM": ""}, "HIBERNAUT_MAIL_FROM"),
        ({"HIBERNAUT_MAIL_FROM": "nobody"}, "HIBERNAUT_MAIL_FROM"),
        ({"HIBERNAUT_SMTP": "mail.example.com"}, "HIBERNAUT_SMTP"),
        ({"HIBERNAUT_SMTP": "https://mail.example.com"}, "HIBERNAUT_SMTP"),
        ({"HIBERNAUT_SMTP": "smtp://mail.example.com:99999"}, "HIBERNAUT_SMTP"),
        ({"HIBERNAUT_SMTP": "smtp://user:s3cret@mail.example.com"}, "HIBERNAUT_SMTP_USER"),
        ({"HIBERNAUT_SMTP_USER": "agents"}, "HIBERNAUT_SMTP_PASSWORD"),
        ({"HIBERNAUT_IMAP_USER": ""}, "HIBERNAUT_IMAP_USER"),
        ({"HIBERNAUT_MAIL_REPLY_TO": ""}, "HIBERNAUT_MAIL_REPLY_TO"),
        ({"HIBERNAUT_MAIL_REPLY_TO": "an+answer@exam ple.com"}, "HIBERNAUT_MAIL_REPLY_TO"),
        ({"HIBERNAUT_MAIL_REPLY_TO": f"{'a' * 36}@example.com"}, "HIBERNAUT_MAIL_REPLY_TO"),
    ],
)
def test_what_cannot_work_is_named(changes: dict[str, str], named: str) -> None:
    with pytest.raises(SettingsError, match=named) as refused:
        Settings.read({**SMTP, **IMAP, **changes})
    assert "s3cret" not in str(refused.value)
    assert "\n" not in str(refused.value)
