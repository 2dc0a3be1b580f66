"""Slack's Web API, as the worker and the gateway use it."""

from __future__ import annotations

from slack_sdk.web import WebClient

from common.settings import Settings

# Seconds for one exchange with Slack; and where a person waits for what comes of it.
TIMEOUT, BRIEF_TIMEOUT = 20, 3
# What the buttons and the form of a message are called.
APPROVE, REJECT, REASON = "approve", "reject", "reason"


def escaped(text: str) -> str:
    """`text` with Slack's control signs as what they are, so that it mentions nobody and links nothing."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def slack_client(settings: Settings, timeout: int = TIMEOUT) -> WebClient:
    """A client with the bot's token, which tries each request once, for `timeout` seconds."""
    slack = settings.slack
    return WebClient(token=slack.bot_token, base_url=slack.api, timeout=timeout, retry_handlers=[])
