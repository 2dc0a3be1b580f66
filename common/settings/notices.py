"""Settings of notices: who is told what and how, and how webhooks are signed."""

from __future__ import annotations

import base64
import binascii
from typing import Annotated

from pydantic import AfterValidator

from common.settings.base import CommaList, File, Group, setting


def _secret(word: str) -> str:
    try:
        fits = word.startswith("whsec_") and 24 <= len(base64.b64decode(word[6:], validate=True)) <= 64
    except (binascii.Error, ValueError):
        fits = False
    if not fits:
        raise ValueError(
            'give whsec_ and 24 to 64 bytes in base64 each, as in "whsec_$(openssl rand -base64 32)"'
        )
    return word


def _secrets(words: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(map(_secret, words))


class NoticeSettings(Group):
    """The file of routes, and the secrets of webhooks, each `whsec_…`."""

    file: File = setting(
        "HIBERNAUT_NOTICES",
        "Path of a JSON file with the routes of notices: who is told what, and how (docs/notices.md). "
        "Empty: `notices.json` in the data folder, if there is one; without it, notices go to the "
        "worker's terminal.",
    )
    webhook_secrets: Annotated[CommaList, AfterValidator(_secrets)] = setting(
        "HIBERNAUT_WEBHOOK_SECRETS",
        "Secrets that sign webhooks, `whsec_…` (24 to 64 bytes in base64), separated by commas; all of "
        "them sign, so that receivers can switch in their own time. Empty: no webhooks.",
        secret=True,
    )
