"""Turns buttons pressed in Slack into decisions, over HTTP or Socket Mode.

Slack names the person who pressed the button, and the entry points have verified that Slack sent it. A
signature protects what the button stands for. Slack gets its acknowledgement once Temporal has the decision;
then the person is told the outcome.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from http import HTTPStatus
from http.client import HTTPException
from typing import Any

import httpx
from pydantic import ValidationError
from slack_sdk.errors import SlackApiError, SlackClientError
from slack_sdk.web import WebClient
from temporalio.service import RPCError

from common.approval.link import ApprovalButton, BadLinkError
from common.approval.signing import Signer
from common.approval.types import Decision, DecisionRecord, DecisionStatus, Verdict
from common.client.client import AgentClient
from common.client.errors import NoSuchAgentError
from common.notices.slack import APPROVE, REASON, REJECT, escaped
from gateway.decisions import outcome_of
from gateway.limits import Buckets
from gateway.problems import Problem, unavailable
from gateway.slack.payloads import Interaction, ReasonForm, View, reason_form

THROUGH = "slack"
# Slack shows a failure after three seconds.
ACKNOWLEDGE_SECONDS = 2.5
# For checking that the question is still open; the rest is for the decision.
LOOK_SECONDS = 0.5
TAKE_SECONDS = ACKNOWLEDGE_SECONDS - LOOK_SECONDS
REPLY_SECONDS = 10.0

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Reply:
    """The immediate reply to Slack, and what to do after it."""

    body: dict[str, Any] | None = None
    afterwards: Callable[[], Awaitable[None]] | None = None


class RefusedError(Exception):
    """Nothing was decided; the message tells the person why, in one line."""


class SlackActions:
    """Handles interactions.

    Args:
        agents: sends decisions.
        web: opens forms.
        http: posts replies.
        signer: verifies our buttons.
        approver_of: maps a Slack user id to the approver's opaque id; None for strangers.
        hooks: the only origin that replies may go to.
        buckets: rate limits by Slack user.
    """

    def __init__(
        self,
        agents: AgentClient,
        web: WebClient,
        http: httpx.AsyncClient,
        signer: Signer,
        approver_of: Callable[[str], str | None],
        hooks: str,
        buckets: Buckets,
    ) -> None:
        self._agents = agents
        self._web = web
        self._http = http
        self._signer = signer
        self._approver_of = approver_of
        self._hooks = httpx.URL(hooks)
        self._buckets = buckets

    async def take(self, pressed: Interaction) -> Reply:
        """Send the decision that was pressed, or ask for the reason of a rejection.

        Raises:
            Problem: 503, it is unknown whether the decision is safe; 429, too many interactions.
            RPCError: it is unknown whether the decision is safe.
        """
        self._buckets.take(f"slack {pressed.user.id}")
        if pressed.type == "view_submission" and pressed.view and pressed.view.callback_id == REJECT:
            return await self._reject(pressed, pressed.view)
        action = next((each for each in pressed.actions if each.action_id in (APPROVE, REJECT)), None)
        if pressed.type != "block_actions" or action is None:
            return Reply()  # a link was followed or a form closed
        try:
            who, button = self._verified(pressed, action.value)
            await self._require_open(button)
            if action.action_id == REJECT:
                await self._ask_why(pressed, button, action.value)
                return Reply()
            decision = await self._decide(pressed, who, button, action.value, Verdict.APPROVE)
        except RefusedError as error:
            return Reply(afterwards=partial(self._reply, pressed.response_url, str(error)))
        return Reply(afterwards=partial(self._reply_outcome, pressed.response_url, button, decision))

    async def _reject(self, pressed: Interaction, view: View) -> Reply:
        typed = view.state.values.get(REASON, {}).get(REASON)
        reason = (typed.value or "").strip() if typed else ""
        try:
            form = ReasonForm.model_validate_json(view.private_metadata)
            who, button = self._verified(pressed, form.token)
            if not reason:
                raise RefusedError("Say why not; the agent and others will read it.")
            decision = await self._decide(pressed, who, button, form.token, Verdict.REJECT, reason)
        except ValidationError:
            raise Problem(HTTPStatus.UNPROCESSABLE_ENTITY, "This is not one of our forms.") from None
        except RefusedError as error:
            return Reply({"response_action": "errors", "errors": {REASON: str(error)}})
        return Reply(afterwards=partial(self._reply_outcome, form.answer, button, decision))

    def _verified(self, pressed: Interaction, token: str) -> tuple[str, ApprovalButton]:
        """Who pressed which button."""
        who = self._approver_of(pressed.user.id)
        if who is None:
            raise RefusedError(
                f"Nothing was decided: nobody here is known by your Slack user id {pressed.user.id}. "
                "Ask your operator to add it to the people who may be notified and asked."
            )
        try:
            return who, ApprovalButton.read(token, self._signer, datetime.now(UTC))
        except BadLinkError as error:
            raise RefusedError(f"Nothing was decided: {error}") from None

    async def _require_open(self, button: ApprovalButton) -> None:
        """Refuse at once if the question is over: a copy of a message may have kept its buttons."""
        how = ""
        # If that takes too long, leave it to the agent.
        with suppress(TimeoutError, RPCError):
            async with asyncio.timeout(LOOK_SECONDS):
                patience = timedelta(seconds=LOOK_SECONDS)
                how = await self._agents.asked.how_ended(
                    button.agent, button.request_id, button.digest, patience
                )
        if how:
            raise RefusedError(f"Nothing was decided: this question is over ({how}).")

    async def _decide(
        self,
        pressed: Interaction,
        who: str,
        button: ApprovalButton,
        token: str,
        verdict: Verdict,
        note: str = "",
    ) -> Decision:
        """Send the decision and return once Temporal has it; the agent judges it later."""
        # Slack's trigger id is new for each press but the same in a retry, so a retry counts once.
        press = f"{pressed.trigger_id} {pressed.user.id} {token}"
        try:
            async with asyncio.timeout(TAKE_SECONDS):
                return await self._agents.decide(
                    button.agent,
                    verdict,
                    by=who,
                    note=note,
                    through=THROUGH,
                    digest=button.digest,
                    request_id=button.request_id,
                    known=True,
                    decision_id=f"slack-{hashlib.sha256(press.encode()).hexdigest()[:32]}",
                )
        except TimeoutError:
            raise unavailable("Temporal cannot be reached just now.") from None
        except NoSuchAgentError:
            raise RefusedError(f"Nothing was decided: agent {button.agent} has ended.") from None

    async def _ask_why(self, pressed: Interaction, button: ApprovalButton, token: str) -> None:
        form = ReasonForm(token=token, answer=pressed.response_url)
        view = reason_form(button, form.model_dump_json())
        try:
            async with asyncio.timeout(TAKE_SECONDS):
                await asyncio.to_thread(self._web.views_open, trigger_id=pressed.trigger_id, view=view)
        except SlackApiError as error:
            _log.warning("Slack did not open the form for a reason: %s", error.response.get("error"))
        except (OSError, HTTPException, ValueError, SlackClientError) as error:
            _log.warning("Slack cannot be reached: %s", error)
        else:
            return
        raise unavailable("Slack did not open the form for the reason.")

    async def _reply_outcome(self, url: str, button: ApprovalButton, decision: Decision) -> None:
        record = await outcome_of(self._agents, button.agent, decision)
        await self._reply(url, _in_words(decision, record))

    async def _reply(self, url: str, text: str) -> None:
        """Post a text that only this person sees; it is lost if Slack cannot be reached."""
        if not self._is_slacks(url):
            _log.warning("a reply to Slack was to go to %.100r, which is not Slack's", url)
            return
        body = {
            "response_type": "ephemeral",
            "replace_original": False,
            "mrkdwn": False,
            "text": escaped(text),
        }
        try:
            answer = await self._http.post(url, json=body, timeout=REPLY_SECONDS, follow_redirects=False)
            answer.raise_for_status()
        except httpx.HTTPError as error:
            _log.warning("a reply to somebody in Slack was lost: %s", type(error).__name__)

    def _is_slacks(self, url: str) -> bool:
        try:
            parsed = httpx.URL(url)
        except (httpx.InvalidURL, ValueError):
            return False
        origin = (parsed.scheme, parsed.host, parsed.port)
        return origin == (self._hooks.scheme, self._hooks.host, self._hooks.port) and not parsed.userinfo


def _in_words(decision: Decision, record: DecisionRecord | None) -> str:
    if record is None:
        return "Your decision is recorded, and counts as soon as the agent wakes, if it still asks this."
    if record.status is DecisionStatus.REFUSED:
        return f"The agent did not take your decision: {record.reason}."
    if decision.verdict is Verdict.REJECT:
        return "Your rejection counts; nothing will be done."
    return "Your approval counts."
