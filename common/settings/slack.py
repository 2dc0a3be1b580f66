"""Settings of Slack: who the app is there, and how its words are told from a forger's."""

from __future__ import annotations

from dataclasses import dataclass, field
from urllib.parse import urlsplit

from common.settings.base import Setting, SettingsError, Values
from common.settings.http import is_safe

BOT_TOKEN = Setting("HIBERNAUT_SLACK_BOT_TOKEN", "", "The Slack app's bot token, `xoxb-…`. Empty: no Slack.")
SIGNING_SECRET = Setting(
    "HIBERNAUT_SLACK_SIGNING_SECRET",
    "",
    "The Slack app's signing secret, by which `POST /slack/actions` tells Slack's requests from others'. "
    "Empty: that route takes nothing.",
)
APP_TOKEN = Setting(
    "HIBERNAUT_SLACK_APP_TOKEN",
    "",
    "The Slack app's app-level token, `xapp-…`, with which the gateway fetches what people press by Socket "
    "Mode; it needs no public address. Empty: no Socket Mode.",
)
API = Setting(
    "HIBERNAUT_SLACK_API", "https://slack.com/api/", "Address of Slack's Web API; another one for GovSlack."
)

TABLE = (BOT_TOKEN, SIGNING_SECRET, APP_TOKEN, API)


@dataclass(frozen=True)
class SlackSettings:
    """Slack. `api` ends with a slash; `hooks` is the only origin that answers to people's clicks go to."""

    bot_token: str = field(repr=False)
    signing_secret: str = field(repr=False)
    app_token: str = field(repr=False)
    api: str
    hooks: str

    @classmethod
    def read(cls, value: Values) -> SlackSettings:
        """Read the group.

        Raises:
            SettingsError: a value cannot be used.
        """
        for setting, start in ((BOT_TOKEN, "xox"), (APP_TOKEN, "xapp-")):
            if value(setting) and not (value(setting).startswith(start) and value(setting).isascii()):
                raise SettingsError(
                    f"{setting.variable}: this is not the token that is meant; it begins with {start}."
                )
        for setting in (SIGNING_SECRET, APP_TOKEN):
            if value(setting) and not value(BOT_TOKEN):
                raise SettingsError(f"{setting.variable} is set and {BOT_TOKEN.variable} is not: set both.")
        api = value(API)
        if not is_safe(api):
            raise SettingsError(
                f"{API.variable}={api[:100]}: give an https:// address (or http://localhost)."
            )
        return cls(
            bot_token=value(BOT_TOKEN),
            signing_secret=value(SIGNING_SECRET),
            app_token=value(APP_TOKEN),
            api=api.rstrip("/") + "/",
            hooks=_hooks(api),
        )


def _hooks(api: str) -> str:
    """Where Slack's `response_url`s lead: `hooks.` before the API's host; on this machine, the API itself."""
    parts = urlsplit(api)
    return f"https://hooks.{parts.netloc}" if parts.scheme == "https" else f"{parts.scheme}://{parts.netloc}"
