"""What people press in Slack becomes their decision; by HTTP and by Socket Mode alike.

Slack says who pressed what, which the doors have made sure of. What the button stands for is sealed in it. A
decision is safe with Temporal before Slack hears that all is well; what became of it, the person hears after.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from http import HTTPStatus
from http.client import HTTPException
from typing import Any

import httpx
from pydantic import ValidationError
from slack_sdk.errors import SlackApiError, SlackClientError
from slack_sdk.web import WebClient

from common.approval.link import ApprovalButton, BadLinkError
from common.approval.signing import Signer
from common.approval.types import Decision, DecisionRecord, DecisionStatus, Verdict
from common.client.client import AgentClient
from common.client.errors import NoSuchAgentError
from common.notices.slack import APPROVE, REASON, REJECT, escaped
from gateway.decisions import fate_of
from gateway.limits import Buckets
from gateway.problems import Problem, away
from gateway.slack.payloads import Interaction, ReasonForm, View, reason_form

THROUGH = "slack"
# Slack tells the person of a failure after three seconds.
SAFE_WITHIN = 2.5
WORD_WITHIN = 10.0

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Reply:
    """What Slack gets at once, and what is left to do after it has it."""

    body: dict[str, Any] | None = None
    afterwards: Callable[[], Awaitable[None]] | None = None


class RefusedError(Exception):
    """Why nothing was decided, in one line for the person."""


class SlackActions:
    """Takes what people press.

    Args:
        agents: sends decisions.
        web: opens forms.
        http: says words.
        signer: knows our buttons.
        approver_of: whom a Slack user is, an opaque id; None for strangers.
        hooks: the one origin that words are said to.
        buckets: hold back who presses too much.
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
        """Decide what was pressed, or ask for the reason of a rejection.

        Raises:
            Problem: 503, it is not known whether the decision is safe; 429, too much was pressed.
            RPCError: as the former.
        """
        self._buckets.take(f"slack {pressed.user.id}")
        if pressed.type == "view_submission" and pressed.view and pressed.view.callback_id == REJECT:
            return await self._submitted(pressed, pressed.view)
        action = next((each for each in pressed.actions if each.action_id in (APPROVE, REJECT)), None)
        if pressed.type != "block_actions" or action is None:
            return Reply()  # a link was followed, a form closed
        try:
            who, button = self._judged(pressed, action.value)
            if action.action_id == REJECT:
                await self._ask_why(pressed, button, action.value)
                return Reply()
            decision = await self._sent(pressed, who, button, action.value, Verdict.APPROVE)
        except RefusedError as error:
            return Reply(afterwards=partial(self._say, pressed.response_url, str(error)))
        return Reply(afterwards=partial(self._say_fate, pressed.response_url, button, decision))

    async def _submitted(self, pressed: Interaction, view: View) -> Reply:
        typed = view.state.values.get(REASON, {}).get(REASON)
        reason = (typed.value or "").strip() if typed else ""
        try:
            form = ReasonForm.model_validate_json(view.private_metadata)
            who, button = self._judged(pressed, form.token)
            if not reason:
                raise RefusedError("Say why not; the agent and others will read it.")
            decision = await self._sent(pressed, who, button, form.token, Verdict.REJECT, reason)
        except ValidationError:
            raise Problem(HTTPStatus.UNPROCESSABLE_ENTITY, "This is no form of ours.") from None
        except RefusedError as error:
            return Reply({"response_action": "errors", "errors": {REASON: str(error)}})
        return Reply(afterwards=partial(self._say_fate, form.answer, button, decision))

    def _judged(self, pressed: Interaction, token: str) -> tuple[str, ApprovalButton]:
        """Who pressed which button."""
        who = self._approver_of(pressed.user.id)
        if who is None:
            raise RefusedError(
                f"Nothing was decided: nobody here is known by your Slack user id {pressed.user.id}. "
                "Ask your operator to add it to the people who may be told and asked."
            )
        try:
            return who, ApprovalButton.read(token, self._signer, datetime.now(UTC))
        except BadLinkError as error:
            raise RefusedError(f"Nothing was decided: {error}") from None

    async def _sent(
        self,
        pressed: Interaction,
        who: str,
        button: ApprovalButton,
        token: str,
        verdict: Verdict,
        note: str = "",
    ) -> Decision:
        """The decision, safe with Temporal; the agent is who judges it."""
        # Slack's trigger is another at each press, and the same in whatever repeats one: that counts once.
        press = f"{pressed.trigger_id} {pressed.user.id} {token}"
        try:
            async with asyncio.timeout(SAFE_WITHIN):
                return await self._agents.decide(
                    button.agent,
                    verdict,
                    by=who,
                    note=note,
                    through=THROUGH,
                    digest=button.digest,
                    request_id=button.request_id,
                    decision_id=f"slack-{hashlib.sha256(press.encode()).hexdigest()[:32]}",
                )
        except TimeoutError:
            raise away("Temporal cannot be reached just now.") from None
        except NoSuchAgentError:
            raise RefusedError(f"Nothing was decided: agent {button.agent} has ended.") from None

    async def _ask_why(self, pressed: Interaction, button: ApprovalButton, token: str) -> None:
        form = ReasonForm(token=token, answer=pressed.response_url)
        view = reason_form(button, form.model_dump_json())
        try:
            async with asyncio.timeout(SAFE_WITHIN):
                await asyncio.to_thread(self._web.views_open, trigger_id=pressed.trigger_id, view=view)
        except SlackApiError as error:
            _log.warning("Slack opens no form for a reason: %s", error.response.get("error"))
        except (OSError, HTTPException, ValueError, SlackClientError) as error:
            _log.warning("Slack cannot be reached: %s", error)
        else:
            return
        raise away("Slack opens no form for the reason.")

    async def _say_fate(self, url: str, button: ApprovalButton, decision: Decision) -> None:
        record = await fate_of(self._agents, button.agent, decision)
        await self._say(url, _told(decision, record))

    async def _say(self, url: str, text: str) -> None:
        """Say something to the one person who pressed; it is lost where it cannot be said."""
        if not self._is_slacks(url):
            _log.warning("an answer to Slack was to go to %.100r, which is not Slack's", url)
            return
        words = {
            "response_type": "ephemeral",
            "replace_original": False,
            "mrkdwn": False,
            "text": escaped(text),
        }
        try:
            answer = await self._http.post(url, json=words, timeout=WORD_WITHIN, follow_redirects=False)
            answer.raise_for_status()
        except httpx.HTTPError as error:
            _log.warning("a word to somebody in Slack was lost: %s", type(error).__name__)

    def _is_slacks(self, url: str) -> bool:
        try:
            parsed = httpx.URL(url)
        except (httpx.InvalidURL, ValueError):
            return False
        origin = (parsed.scheme, parsed.host, parsed.port)
        return origin == (self._hooks.scheme, self._hooks.host, self._hooks.port) and not parsed.userinfo


def _told(decision: Decision, record: DecisionRecord | None) -> str:
    if record is None:
        return "Your decision is recorded, and counts as soon as the agent wakes."
    if record.status is DecisionStatus.REFUSED:
        return f"The agent did not take your decision: {record.reason}."
    if decision.verdict is Verdict.REJECT:
        return "Your rejection counts; nothing will be done."
    return "Your approval counts."
