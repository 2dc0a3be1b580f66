"""Socket Mode: what is pressed comes in without a public address."""

from __future__ import annotations

import asyncio

import pytest

from cli.dev_server import free_port
from gateway.app import build_from
from tests.support.patience import patient
from tests.support.serving import Serving
from tests.support.slack.server import SlackServer
from tests.support.slack.world import SlackWorld, world

__all__ = ["patient", "world"]

pytestmark = pytest.mark.usefixtures("patient")


async def test_socket_mode_takes_what_is_pressed(world: SlackWorld) -> None:
    """No public address: the same decisions, acknowledged once safe, also after a lost connection."""
    slack = world.slack
    settings = world.world.settings.but(slack=slack.settings(socket=True))
    first, second = await world.asked(), await world.asked()
    async with Serving(await build_from(settings)):
        await connected(slack, 1)
        pressed = first.pressed("approve", "U0ANN")
        assert await slack.send_by_socket(pressed) == {}
        assert (await first.ended()).result["verdict"] == "approved"
        assert await first.said(pressed) == "Your approval counts."
        await slack.refresh()
        await connected(slack, 2)
        assert await slack.send_by_socket(second.pressed("reject", "U0BOB")) == {}
        blank = await slack.send_by_socket(slack.submitted(slack.views[-1], " ", "U0BOB"))
        assert blank["response_action"] == "errors"
        assert await slack.send_by_socket(slack.submitted(slack.views[-1], "no", "U0BOB")) == {}
        assert (await second.ended()).result["verdict"] == "rejected"
        await slack.drop()
        await connected(slack, 3)
        for action in ("approve", "reject"):
            again = first.pressed(action, "U0ANN")
            assert await slack.send_by_socket(again) == {}
            assert "Nothing was decided: this question is over" in await first.said(again)


async def test_socket_mode_acknowledges_nothing_that_is_not_safe(
    world: SlackWorld, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """With Temporal away Slack hears nothing, and tells the person; nor does it of what cannot be read."""
    asked = await world.asked()
    settings = world.world.settings.but(slack=world.slack.settings(socket=True))
    before = world.slack.connections
    monkeypatch.undo()
    with monkeypatch.context() as away:
        away.setenv("TEMPORAL_ADDRESS", f"127.0.0.1:{free_port()}")
        async with Serving(await build_from(settings)):
            await connected(world.slack, before + 1)
            for payload in (asked.pressed("approve", "U0ANN"), {"type": "block_actions"}):
                sending = asyncio.create_task(world.slack.send_by_socket(payload))
                async with asyncio.timeout(120):
                    while "was not taken" not in caplog.text:
                        await asyncio.sleep(0.02)
                assert not sending.done()
                sending.cancel()
                caplog.clear()
    assert await world.decisions(asked.id) == []


async def connected(slack: SlackServer, times: int) -> None:
    async with asyncio.timeout(120):
        while slack.connections < times:
            await asyncio.sleep(0.02)
