"""Slack's Web API, as the worker and the gateway use it."""

from __future__ import annotations

from slack_sdk.web import WebClient

from common.settings import Settings

# Seconds for one exchange with Slack.
TIMEOUT = 20
# What the buttons and the form of a message are called.
APPROVE, REJECT, REASON = "approve", "reject", "reason"


def escaped(text: str) -> str:
    """`text` with Slack's control signs as what they are, so that it mentions nobody and links nothing."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def slack_client(settings: Settings) -> WebClient:
    """A client with the bot's token, which tries each request once."""
    return WebClient(
        token=settings.slack.bot_token, base_url=settings.slack.api, timeout=TIMEOUT, retry_handlers=[]
    )
