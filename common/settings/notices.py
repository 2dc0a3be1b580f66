"""Settings of notices: who is told what by which way, and how webhooks are signed."""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass, field
from pathlib import Path

from common.settings.base import Setting, SettingsError, Values

NOTICES = Setting(
    "HIBERNAUT_NOTICES",
    "",
    "Path of a JSON file that says who is told what by which way (docs/notices.md). Empty: `notices.json` in "
    "the data folder, if there is one; without it, notices go to the worker's terminal.",
)
WEBHOOK_SECRETS = Setting(
    "HIBERNAUT_WEBHOOK_SECRETS",
    "",
    "Secrets that sign webhooks, `whsec_…` (24 to 64 bytes in base64), with commas between; every one signs, "
    "so that a receiver may change over at its own time. Empty: no webhooks.",
)

TABLE = (NOTICES, WEBHOOK_SECRETS)


@dataclass(frozen=True)
class NoticeSettings:
    """Where the routes stand, and the secrets of webhooks, each `whsec_…`."""

    file: Path | None
    webhook_secrets: tuple[str, ...] = field(repr=False)

    @classmethod
    def read(cls, value: Values) -> NoticeSettings:
        """Read the group.

        Raises:
            SettingsError: a value cannot be used.
        """
        secrets = tuple(filter(None, (word.strip() for word in value(WEBHOOK_SECRETS).split(","))))
        if not all(map(_is_secret, secrets)):
            raise SettingsError(
                f"{WEBHOOK_SECRETS.variable}: give whsec_ and 24 to 64 bytes in base64 each, as in "
                '"whsec_$(openssl rand -base64 32)".'
            )
        file = Path(value(NOTICES)).expanduser().absolute() if value(NOTICES) else None
        return cls(file=file, webhook_secrets=secrets)


def _is_secret(word: str) -> bool:
    try:
        return word.startswith("whsec_") and 24 <= len(base64.b64decode(word[6:], validate=True)) <= 64
    except (binascii.Error, ValueError):
        return False
