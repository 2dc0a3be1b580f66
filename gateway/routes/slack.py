"""Slack's interaction requests: signed by Slack, at most five minutes old, and each accepted once."""

from __future__ import annotations

from http import HTTPStatus
from urllib.parse import parse_qs

from fastapi import APIRouter, Request
from slack_sdk.signature import SignatureVerifier
from starlette.background import BackgroundTask
from starlette.responses import JSONResponse, Response

from gateway.auth.authentication import address_of
from gateway.problems import Problem
from gateway.services import Gateway, Parts
from gateway.slack.payloads import Interaction

router = APIRouter()


@router.post("/slack/actions")
async def act(request: Request, parts: Parts) -> Response:
    """Handle a pressed button; 200 means that the decision is safe with Temporal."""
    body = await request.body()
    _require_from_slack(request, parts, body)
    try:
        payload = parse_qs(body.decode(), strict_parsing=True)["payload"][0]
    except (ValueError, KeyError):
        raise Problem(HTTPStatus.UNPROCESSABLE_ENTITY, "The body has no `payload`.") from None
    reply = await parts.slack.take(Interaction.model_validate_json(payload))
    after = BackgroundTask(reply.afterwards) if reply.afterwards else None
    return JSONResponse(reply.body, background=after) if reply.body else Response(background=after)


def _require_from_slack(request: Request, parts: Gateway, body: bytes) -> None:
    """Require that Slack signed the request within the last five minutes, and that it is not a replay."""
    secret = parts.settings.slack.signing_secret
    if not secret:
        raise Problem(
            HTTPStatus.NOT_FOUND,
            "HIBERNAUT_SLACK_SIGNING_SECRET is not set: nothing is accepted from Slack here.",
        )
    signature = request.headers.get("x-slack-signature", "")
    try:
        signed = SignatureVerifier(secret).is_valid(
            body, request.headers.get("x-slack-request-timestamp"), signature
        )
    except (ValueError, TypeError):  # an unreadable timestamp or body
        signed = False
    if not signed:
        parts.buckets.take(f"address {address_of(request)}")
        raise Problem(HTTPStatus.FORBIDDEN, "This was not signed by Slack within the last five minutes.")
    if not parts.slack_requests.first(signature):
        raise Problem(HTTPStatus.CONFLICT, "Slack sent this request before; it counts once.")
