"""Posts notices to Slack, and updates a message once its request has ended."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from http.client import HTTPException
from typing import Any, Self

from slack_sdk.errors import SlackApiError, SlackClientError
from slack_sdk.web import WebClient
from slack_sdk.web.slack_response import SlackResponse
from temporalio import activity
from temporalio.exceptions import ApplicationError

from activities.calls.retry_header import parse_retry_after
from activities.delivery import slack_blocks
from activities.delivery.open_questions import require_open
from common.agents.kinds import shown_as
from common.approval.action_log import ActionLog
from common.approval.link import BUTTON_LIFETIME, LINK_LIFETIME, ApprovalButton, ApprovalLink
from common.approval.plan_parts import ShownPlan
from common.approval.plan_view import RenderContext, show_plan
from common.approval.signing import Signer
from common.approval.types import ApprovalRequest
from common.artifacts import ArtifactStore
from common.errors import permanent, retry_after
from common.notices.people import approvers_in_slack
from common.notices.slack import slack_client
from common.notices.types import ASKS, Delivery, Notice, SlackPost, SlackUpdate
from common.settings import Settings

NOTICE = "hibernaut_notice"
# How much of a channel, newest first, is searched for a message whose posting had an unknown outcome.
PAGES, PAGE = 5, 200
CLOCKS_DIFFER = timedelta(minutes=2)
ASKED_WAIT = timedelta(seconds=30)  # if Slack asks to wait but not for how long

# Slack is at fault or busy; any other error is due to the token, the address or the message.
_TRANSIENT = frozenset(
    {"fatal_error", "internal_error", "request_timeout", "service_unavailable", "team_added_to_org"}
)
_BUSY = frozenset({"rate_limited", "ratelimited"})
_TOKEN = frozenset(
    {
        *("not_authed", "invalid_auth", "account_inactive", "token_revoked", "token_expired"),
        *("no_permission", "missing_scope", "not_allowed_token_type", "org_login_required", "access_denied"),
    }
)
_ADDRESS = {
    "channel_not_found": "there is no such channel, or the app is not in it: invite the app.",
    "not_in_channel": "the app is not in this channel: invite it.",
    "is_archived": "the channel is archived: name another one.",
    "user_not_found": "there is no such user.",
    "user_disabled": "this user's account is disabled.",
    "cannot_dm_bot": "this is a bot, not a person.",
    "messages_tab_disabled": "the app accepts no direct messages: switch on its messages tab.",
    "restricted_action": "the workspace does not let the app post there.",
}


class Slack:
    """The activities `slack_post` and `slack_update`.

    Args:
        client: with its own retries off; None if no token is set.
        signer: signs buttons and links.
        artifacts: where diffs are stored.
        approver_of: returns the opaque id of a Slack user; None for strangers.
        public_url: where people reach the gateway.
        require_open: raises if the question of a notice has ended.
        restored_to: the time that a restored server went back to, since when it has forgotten posts; None
            without a restore. Blocks.
    """

    def __init__(
        self,
        client: WebClient | None,
        signer: Signer,
        artifacts: ArtifactStore,
        approver_of: Callable[[str], str | None],
        public_url: str,
        require_open: Callable[[Notice], Awaitable[None]] = require_open,
        restored_to: Callable[[], datetime | None] = lambda: None,
    ) -> None:
        self._require_open = require_open
        self._restored_to = restored_to
        self._client = client
        self._signer = signer
        self._artifacts = artifacts
        self._approver_of = approver_of
        self._public_url = public_url

    @classmethod
    def build(
        cls,
        settings: Settings,
        artifacts: ArtifactStore,
        require_open: Callable[[Notice], Awaitable[None]] = require_open,
    ) -> Self:
        """The activities for these settings. Without a token they fail, and the error names the setting."""
        client = slack_client(settings) if settings.slack.bot_token else None
        known = approvers_in_slack(settings)
        signer, url, acts = Signer.load(settings), settings.http.public_url, ActionLog.of(settings)
        return cls(client, signer, artifacts, known, url, require_open, acts.restored_to)

    @activity.defn(name="slack_post")
    async def slack_post(self, delivery: Delivery) -> SlackPost:
        """Post a notice to a channel or, if the address is a user's id, to that person alone.

        After an attempt with an unknown outcome, or a restore of the server, the channel is searched for the
        message before it is posted again. This comes before the check whether the question is still open:
        posted buttons must be found even if it is not.

        Raises:
            ApplicationError: permanent: `SlackRefused` (the token, the address or the message),
                `NoLongerAsked`. Retryable: `SlackBusy` (with the wait Slack asked for), `SlackAway`,
                `AgentSilent`.
        """
        info, forgotten = activity.info(), await asyncio.to_thread(self._restored_to)
        since = min(forgotten or info.scheduled_time, info.scheduled_time) - CLOCKS_DIFFER
        looks = info.attempt > 1 or forgotten
        if looks and (found := await asyncio.to_thread(self._posted, delivery, since)):
            return found
        await self._require_open(delivery.notice)
        return await asyncio.to_thread(self._post, delivery)

    def _post(self, delivery: Delivery) -> SlackPost:
        answer = self._call(
            "chat_postMessage",
            delivery,
            channel=delivery.address,
            text=slack_blocks.fit(delivery.notice.text, slack_blocks.NOTIFICATION),
            blocks=self._blocks(delivery),
            metadata=_metadata(delivery),
            unfurl_links=False,
            unfurl_media=False,
        )
        return SlackPost(channel=answer["channel"], ts=answer["ts"])

    @activity.defn(name="slack_update")
    def slack_update(self, update: SlackUpdate) -> None:
        """Replace a posted message with how its request ended, without buttons; raises as `slack_post`."""
        notice = update.delivery.notice
        shown = self._shown(notice.kind, notice.request)
        self._call(
            "chat_update",
            update.delivery,
            channel=update.channel,
            ts=update.ts,
            text=slack_blocks.fit(update.outcome, slack_blocks.NOTIFICATION),
            blocks=slack_blocks.decided(notice, notice.request, shown, update.outcome),
            metadata=_metadata(update.delivery),
        )

    def _blocks(self, delivery: Delivery) -> list[slack_blocks.Block]:
        notice, request = delivery.notice, delivery.notice.request
        if request is None or notice.event not in ASKS:
            return slack_blocks.told(notice, notice.page(self._public_url))
        now = datetime.now(UTC)
        button = ApprovalButton(
            agent=notice.agent,
            request_id=request.id,
            digest=request.digest,
            expires_at=request.expires_at or now + BUTTON_LIFETIME,
        )
        details = self._link(delivery, request, now) or notice.page(self._public_url)
        shown = self._shown(notice.kind, request)
        return slack_blocks.asked(notice, request, shown, button.token(self._signer), details)

    def _link(self, delivery: Delivery, request: ApprovalRequest, now: datetime) -> str:
        """An approval link for the only person who reads the message; empty if others may read it, too."""
        # Anyone with the link decides as that person, so do not rely on what the delivery says alone.
        reads = self._approver_of(delivery.address) if _is_user(delivery.address) else None
        if not delivery.person or reads != delivery.person:
            return ""
        link = ApprovalLink(
            agent=delivery.notice.agent,
            request_id=request.id,
            digest=request.digest,
            approver=delivery.person,
            expires_at=request.expires_at or now + LINK_LIFETIME,
        )
        return f"{self._public_url}/approve/{link.token(self._signer)}"

    def _shown(self, kind: str, request: ApprovalRequest | None) -> ShownPlan:
        if request is None:
            return ShownPlan()
        return show_plan(request.plan, shown_as(kind, request.plan), RenderContext(self._artifacts))

    def _posted(self, delivery: Delivery, since: datetime) -> SlackPost | None:
        """The message that an earlier attempt posted after `since`, if the app's scopes allow reading it."""
        try:
            return self._find(delivery, since)
        except ApplicationError as error:
            if error.non_retryable:
                return None
            raise

    def _find(self, delivery: Delivery, since: datetime) -> SlackPost | None:
        own = self._call("auth_test", delivery)["bot_id"]
        channel = delivery.address
        if _is_user(channel):
            channel = self._call("conversations_open", delivery, users=channel)["channel"]["id"]
        cursor = ""
        for _ in range(PAGES):
            page = self._call(
                "conversations_history",
                delivery,
                channel=channel,
                oldest=f"{since.timestamp():.6f}",
                include_all_metadata=True,
                limit=PAGE,
                cursor=cursor,
            )
            for message in page["messages"] or []:
                if message.get("bot_id") == own and message.get("metadata") == _metadata(delivery):
                    return SlackPost(channel=channel, ts=message["ts"])
            cursor = (page.get("response_metadata") or {}).get("next_cursor", "")
            if not cursor:
                break
        return None

    def _call(self, method: str, delivery: Delivery, **arguments: Any) -> SlackResponse:
        if self._client is None:
            raise permanent(
                "SlackRefused", "HIBERNAUT_SLACK_BOT_TOKEN: set it; nothing reaches Slack without it."
            )
        try:
            answer: SlackResponse = getattr(self._client, method)(**arguments)
        except SlackApiError as error:
            raise _classified(error.response, delivery.address) from None
        except (OSError, HTTPException, ValueError, SlackClientError) as error:
            words = f"Slack cannot be reached: {type(error).__name__}: {error}"
            raise ApplicationError(words[:300], type="SlackAway") from None
        return answer


def _classified(answer: SlackResponse, address: str) -> ApplicationError:
    """Slack's refusal as an error with one line that says what to do."""
    data: dict[str, Any] = answer.data if isinstance(answer.data, dict) else {}
    error = str(data.get("error", "no answer"))[:100]
    if answer.status_code == 429 or error in _BUSY:
        headers = {name.lower(): value for name, value in answer.headers.items()}
        wait = parse_retry_after(headers.get("retry-after"), datetime.now(UTC)) or ASKED_WAIT
        return retry_after("SlackBusy", f"Slack asks to wait {wait.total_seconds():g} s.", wait)
    if answer.status_code >= 500 or error in _TRANSIENT:
        return ApplicationError(f"Slack answered {answer.status_code}: {error}", type="SlackAway")
    if error in _TOKEN:
        needed = f"; give the app the scope {data['needed']}" if data.get("needed") else ""
        return permanent("SlackRefused", f"HIBERNAUT_SLACK_BOT_TOKEN: Slack refuses it: {error}{needed}.")
    reason = _ADDRESS.get(error, f"Slack refuses the message: {error}.")
    return permanent("SlackRefused", f"Slack address {address[:100]!r}: {reason}")


def _metadata(delivery: Delivery) -> dict[str, Any]:
    return {"event_type": NOTICE, "event_payload": {"notice_id": delivery.notice.id}}


def _is_user(address: str) -> bool:
    return address[:1] in ("U", "W")
