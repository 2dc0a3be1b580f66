"""Webhooks against a real receiver that verifies with the library of the standard."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from standardwebhooks import Webhook, WebhookVerificationError
from temporalio.exceptions import ApplicationError
from temporalio.testing import ActivityEnvironment

from activities.delivery.webhooks import Webhooks, message_id
from common.approval.types import ApprovalPolicy, ApprovalRequest
from common.notices.types import Delivery, Notice, NoticeEvent
from common.settings import Settings
from tests.support.web import Route, WebServer, redirect

OLD, NEW = ("whsec_" + base64.b64encode(bytes([byte]) * 32).decode() for byte in (1, 2))
REQUEST = ApprovalRequest(
    id="approval-1",
    question="Buy?",
    plan={"symbol": "KO"},
    digest="d" * 64,
    policy=ApprovalPolicy(approvers=("ann",)),
    requester="owner-1",
    asked_at=datetime(2026, 11, 23, tzinfo=UTC),
)
NOTICE = Notice(
    id="buyer-1/0123/1",
    agent="buyer-1",
    kind="buyer",
    owner="owner-1",
    event=NoticeEvent.ASKED,
    text="Buy? “now”",
    request=REQUEST,
)


@pytest.fixture
def receiver() -> Iterator[WebServer]:
    with WebServer({"/hook": Route("thanks")}) as site:
        yield site


def webhooks(allowed: str = "", secrets: str = OLD, **more: str) -> Webhooks:
    return Webhooks.build(
        Settings.read({"HIBERNAUT_ALLOWED_HOSTS": allowed, "HIBERNAUT_WEBHOOK_SECRETS": secrets, **more})
    )


async def post(hooks: Webhooks, url: str, notice: Notice = NOTICE) -> None:
    await ActivityEnvironment().run(hooks.webhook_post, Delivery(notice=notice, way="webhook", address=url))


async def refused(hooks: Webhooks, url: str) -> ApplicationError:
    with pytest.raises(ApplicationError) as caught:
        await post(hooks, url)
    return caught.value


async def test_the_receiver_verifies_what_came_and_reads_it(receiver: WebServer) -> None:
    """The library accepts it; a changed byte it does not; the body says what there is to decide, and no link
    that decides."""
    await post(webhooks(receiver.host), receiver.url("/hook"))
    [hit] = receiver.hits("/hook")
    body: dict[str, Any] = Webhook(OLD).verify(hit.body, dict(hit.headers))
    with pytest.raises(WebhookVerificationError):
        Webhook(OLD).verify(hit.body.replace(b"KO", b"PE"), dict(hit.headers))
    with pytest.raises(WebhookVerificationError):
        Webhook(NEW).verify(hit.body, dict(hit.headers))
    assert body.pop("at")
    assert body == {
        "id": message_id(NOTICE),
        "event": "asked",
        "agent": "buyer-1",
        "kind": "buyer",
        "owner": "owner-1",
        "text": "Buy? “now”",
        "request": {
            "id": "approval-1",
            "question": "Buy?",
            "plan": {"symbol": "KO"},
            "digest": "d" * 64,
            "expires_at": None,
            "may_decide": ["ann"],
        },
        "links": {
            "agent": "http://127.0.0.1:8080/agents/buyer-1",
            "page": "http://127.0.0.1:8080/ui/agents/buyer-1",
        },
    }
    assert b"/approve/" not in hit.body


async def test_both_secrets_verify_while_they_change_over(receiver: WebServer) -> None:
    """With two set, a receiver that knows either one verifies; a stranger does not."""
    await post(webhooks(receiver.host, f"{NEW},{OLD}"), receiver.url("/hook"))
    [hit] = receiver.hits("/hook")
    for secret in (OLD, NEW):
        assert Webhook(secret).verify(hit.body, dict(hit.headers))["event"] == "asked"
    with pytest.raises(WebhookVerificationError):
        Webhook("whsec_" + base64.b64encode(b"s" * 32).decode()).verify(hit.body, dict(hit.headers))


async def test_a_notice_that_is_sent_again_has_the_same_id_and_another_none_of_it(
    receiver: WebServer,
) -> None:
    """So a receiver can pass over what it has."""
    hooks = webhooks(receiver.host)
    for notice in (NOTICE, NOTICE, NOTICE.model_copy(update={"id": "buyer-1/0123/2"})):
        await post(hooks, receiver.url("/hook"), notice)
    first, again, other = (hit.headers["webhook-id"] for hit in receiver.hits("/hook"))
    assert first == again != other
    assert "." not in first


@pytest.mark.parametrize(
    ("status", "kind", "for_good"),
    [
        (200, None, False),
        (204, None, False),
        (301, "WebhookRefused", True),
        (400, "WebhookRefused", True),
        (401, "WebhookRefused", True),
        (404, "WebhookRefused", True),
        (408, "WebhookFailed", False),
        (410, "WebhookGone", True),
        (425, "WebhookFailed", False),
        (429, "WebhookFailed", False),
        (500, "WebhookFailed", False),
        (503, "WebhookFailed", False),
    ],
)
async def test_the_status_says_whether_it_is_tried_again(
    receiver: WebServer, status: int, kind: str | None, for_good: bool
) -> None:
    """2xx arrived; 410 and other refusals are for good; what may pass is tried again."""
    receiver.routes["/hook"] = Route(status=status)
    if kind is None:
        await post(webhooks(receiver.host), receiver.url("/hook"))
    else:
        error = await refused(webhooks(receiver.host), receiver.url("/hook"))
        assert (error.type, error.non_retryable) == (kind, for_good)
        assert str(status) in error.message
        assert "/hook" not in error.message
    assert len(receiver.hits()) == 1


async def test_a_receiver_may_ask_for_patience(receiver: WebServer) -> None:
    """Retry-After becomes the wait before the next attempt."""
    receiver.routes["/hook"] = Route(status=429, headers={"Retry-After": "90"})
    error = await refused(webhooks(receiver.host), receiver.url("/hook"))
    assert error.next_retry_delay == timedelta(seconds=90)


async def test_a_redirect_is_not_followed(receiver: WebServer) -> None:
    """The plan goes where the routes say, and nowhere else."""
    receiver.routes["/hook"] = redirect(receiver.url("/elsewhere"), 307)
    assert (await refused(webhooks(receiver.host), receiver.url("/hook"))).type == "WebhookRefused"
    assert receiver.hits("/elsewhere") == []


async def test_an_endless_answer_is_not_read(receiver: WebServer) -> None:
    """The status is all that counts."""
    receiver.routes["/hook"] = Route(endless=True)
    await post(webhooks(receiver.host), receiver.url("/hook"))
    assert len(receiver.hits("/hook")) == 1


async def test_an_address_inside_is_refused_for_good(receiver: WebServer) -> None:
    """Loopback, a private network, a metadata service: not without an entry in the allow-list."""
    for url in (receiver.url("/hook"), "http://10.0.0.1/", "http://169.254.169.254/latest", "http://[::1]/"):
        error = await refused(webhooks(), url)
        assert (error.type, error.non_retryable) == ("AddressRefused", True)
    assert receiver.hits() == []


async def test_without_a_secret_nothing_is_sent(receiver: WebServer) -> None:
    """The error names the setting."""
    error = await refused(webhooks(receiver.host, ""), receiver.url("/hook"))
    assert (error.type, error.non_retryable) == ("WebhooksNotSetUp", True)
    assert "HIBERNAUT_WEBHOOK_SECRETS" in error.message
    assert receiver.hits() == []


async def test_a_receiver_that_is_away_is_tried_again() -> None:
    """Nothing listens: an error for now."""
    error = await refused(webhooks("127.0.0.1:1"), "http://127.0.0.1:1/hook")
    assert (error.type, error.non_retryable) == ("WebhookFailed", False)
