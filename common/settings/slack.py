"""Settings of Slack: the app's identity, and how requests are verified to be Slack's."""

from __future__ import annotations

from typing import Annotated, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, model_validator

from common.error_message import ErrorMessage
from common.settings.base import Group, setting
from common.settings.http import SafeUrl


def _with_slash(url: str) -> str:
    return url.rstrip("/") + "/"


class SlackSettings(Group):
    """Slack. `api` ends with a slash."""

    bot_token: Annotated[str, Field(pattern=r"^(xox[!-~]*)?$"), ErrorMessage("must begin with xox")] = (
        setting(
            "HIBERNAUT_SLACK_BOT_TOKEN", "The Slack app's bot token, `xoxb-…`. Empty: no Slack.", secret=True
        )
    )
    signing_secret: str = setting(
        "HIBERNAUT_SLACK_SIGNING_SECRET",
        "The Slack app's signing secret, by which `POST /slack/actions` verifies that requests are "
        "Slack's. Empty: that route takes nothing.",
        secret=True,
    )
    app_token: Annotated[str, Field(pattern=r"^(xapp-[!-~]*)?$"), ErrorMessage("must begin with xapp-")] = (
        setting(
            "HIBERNAUT_SLACK_APP_TOKEN",
            "The Slack app's app-level token, `xapp-…`, with which the gateway receives button presses by "
            "Socket Mode, without a public address. Empty: no Socket Mode.",
            secret=True,
        )
    )
    api: Annotated[SafeUrl, AfterValidator(_with_slash)] = setting(
        "HIBERNAUT_SLACK_API",
        "Address of Slack's Web API; set another one for GovSlack.",
        default="https://slack.com/api/",
    )

    @model_validator(mode="after")
    def _needs_a_bot(self) -> Self:
        for variable, value in (
            ("HIBERNAUT_SLACK_SIGNING_SECRET", self.signing_secret),
            ("HIBERNAUT_SLACK_APP_TOKEN", self.app_token),
        ):
            if value and not self.bot_token:
                raise ValueError(f"{variable} is set and HIBERNAUT_SLACK_BOT_TOKEN is not: set both")
        return self

    @property
    def hooks(self) -> str:
        """The only origin allowed in Slack's `response_url`, to which answers to people's clicks go.

        It is `hooks.` before the API's host; on this machine, the API itself.
        """
        parts = urlsplit(self.api)
        return f"{parts.scheme}://{'hooks.' if parts.scheme == 'https' else ''}{parts.netloc}"
