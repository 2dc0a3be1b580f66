"""Posts notices to systems: one POST each, signed according to Standard Webhooks."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Sequence
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any
from urllib.parse import quote

import httpx
from standardwebhooks import Webhook
from temporalio import activity
from temporalio.exceptions import ApplicationError

from activities.calls.retry_header import parse_retry_after
from activities.fetching.guard import AddressRefusedError, guarded_client
from common.errors import permanent, retry_after
from common.notices.types import Delivery, Notice, masked
from common.settings import Settings

SECONDS = 20.0
# The 4xx answers worth retrying.
RETRYABLE_STATUSES = (HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_EARLY, HTTPStatus.TOO_MANY_REQUESTS)


class Webhooks:
    """The activity that posts notices to systems.

    Args:
        client: behind the guard; it follows no redirects and does not retry.
        secrets: each of them signs, so that a receiver can verify with any one.
        public_url: where people reach the gateway.
    """

    def __init__(self, client: httpx.AsyncClient, secrets: Sequence[str], public_url: str) -> None:
        self._client, self._public_url = client, public_url
        self._signers = [Webhook(secret) for secret in secrets]

    @classmethod
    def build(cls, settings: Settings) -> Webhooks:
        """Webhooks with a client that reaches only public addresses and the hosts on the allow-list."""
        fetching = settings.fetching
        client = guarded_client(
            fetching.allowed_hosts, headers={"User-Agent": fetching.user_agent}, timeout=SECONDS
        )
        return cls(client, settings.notices.webhook_secrets, settings.http.public_url)

    @activity.defn(name="webhook_post")
    async def webhook_post(self, delivery: Delivery) -> None:
        """Post a notice. The receiver may get it twice, with the same `webhook-id`.

        Raises:
            ApplicationError: permanent: `WebhooksNotSetUp`, `AddressRefused` (not public), `WebhookGone`
                (410), `WebhookRefused` (another 4xx, or a redirect). Retryable: `WebhookFailed`, with the
                wait that the receiver asks for.
        """
        if not self._signers:
            raise permanent("WebhooksNotSetUp", "no webhook can be signed: set HIBERNAUT_WEBHOOK_SECRETS")
        where = masked(delivery.way, delivery.address)
        body = json.dumps(self._body(delivery.notice), ensure_ascii=False)
        try:
            async with (
                asyncio.timeout(SECONDS),
                self._client.stream(
                    "POST",
                    delivery.address,
                    content=body.encode(),
                    headers=self._headers(delivery.notice, body),
                ) as answer,
            ):
                # Do not read the body; it could be of any length.
                status, asked = answer.status_code, answer.headers.get("retry-after")
        except (AddressRefusedError, httpx.InvalidURL, httpx.UnsupportedProtocol, UnicodeError) as error:
            raise permanent("AddressRefused", str(error)) from None
        except (TimeoutError, httpx.TimeoutException):
            raise ApplicationError(f"{where}: no answer within {SECONDS:g} s", type="WebhookFailed") from None
        except httpx.TransportError as error:
            raise ApplicationError(f"{where}: {type(error).__name__}", type="WebhookFailed") from None
        _judge(where, status, asked)

    def _headers(self, notice: Notice, body: str) -> dict[str, str]:
        now, id = datetime.now(UTC), message_id(notice)
        return {
            "Content-Type": "application/json",
            "webhook-id": id,
            "webhook-timestamp": str(int(now.timestamp())),
            "webhook-signature": " ".join(signer.sign(id, now, body) for signer in self._signers),
        }

    def _body(self, notice: Notice) -> dict[str, Any]:
        request, agent = notice.request, quote(notice.agent, safe="")
        asked = None
        if request is not None:
            asked = request.model_dump(
                mode="json", include={"id", "question", "digest", "plan", "expires_at"}
            )
            asked["may_decide"] = list(request.deciders)
        return {
            "id": message_id(notice),
            "event": notice.event,
            "at": activity.info().scheduled_time.isoformat(),
            "agent": notice.agent,
            "kind": notice.kind,
            "owner": notice.owner,
            "text": notice.text,
            "request": asked,
            # Never a person's approval link: anyone who has it decides as that person.
            "links": {
                "agent": f"{self._public_url}/agents/{agent}",
                "page": notice.page(self._public_url),
            },
        }


def message_id(notice: Notice) -> str:
    """The `webhook-id` of a notice, the same at every attempt, so that a receiver can skip repeats."""
    return f"msg_{hashlib.sha256(notice.id.encode()).hexdigest()[:32]}"


def _judge(where: str, status: int, asked: str | None) -> None:
    said = f"{where}: status {status}"
    if 200 <= status < 300:
        return
    if status == HTTPStatus.GONE:
        raise permanent("WebhookGone", f"{said}; remove it from the routes")
    if status < 500 and status not in RETRYABLE_STATUSES:
        raise permanent("WebhookRefused", said)
    wait = parse_retry_after(asked, datetime.now(UTC))
    raise retry_after("WebhookFailed", said, wait) if wait else ApplicationError(said, type="WebhookFailed")
