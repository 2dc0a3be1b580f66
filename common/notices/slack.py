"""Slack's Web API, for the worker and the gateway."""

from __future__ import annotations

from slack_sdk.web import WebClient

from common.settings import Settings

# Seconds for one exchange with Slack, and for one that a person waits for.
TIMEOUT, BRIEF_TIMEOUT = 20, 3
# The action ids of a message's buttons and form.
APPROVE, REJECT, REASON = "approve", "reject", "reason"


def escaped(text: str) -> str:
    """`text` with Slack's control characters escaped, so that it mentions nobody and links nothing."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def slack_client(settings: Settings, timeout: int = TIMEOUT) -> WebClient:
    """A client with the bot's token that tries each request once, for `timeout` seconds."""
    slack = settings.slack
    return WebClient(token=slack.bot_token, base_url=slack.api, timeout=timeout, retry_handlers=[])
