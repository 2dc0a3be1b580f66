"""Socket Mode: a connection to Slack that delivers interactions where Slack cannot reach the gateway."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from concurrent.futures import Future
from contextlib import asynccontextmanager
from http.client import HTTPException

from slack_sdk.errors import SlackApiError, SlackClientError
from slack_sdk.socket_mode import SocketModeClient
from slack_sdk.socket_mode.client import BaseSocketModeClient
from slack_sdk.socket_mode.request import SocketModeRequest
from slack_sdk.socket_mode.response import SocketModeResponse

from common.notices.slack import slack_client
from common.settings import Settings
from gateway.problems import problem_of
from gateway.slack.interactions import SlackActions
from gateway.slack.payloads import Interaction

FIRST_DELAY, LONGEST_DELAY = 1.0, 60.0
# Pings detect a lost connection; until then, whoever presses a button sees a failure.
PING_SECONDS = 2.0
# Time for interactions that arrive just before the gateway ends.
GRACE_SECONDS = 2.0

_log = logging.getLogger(__name__)


@asynccontextmanager
async def socket_mode(settings: Settings, actions: SlackActions) -> AsyncIterator[None]:
    """Listen while entered, if the settings ask for it; Slack need not be reachable yet."""
    if not settings.slack.app_token:
        yield
        return
    client = SocketModeClient(
        settings.slack.app_token, web_client=slack_client(settings), ping_interval=PING_SECONDS
    )
    loop = asyncio.get_running_loop()
    under_way: set[Future[None]] = set()

    def hear(_: BaseSocketModeClient, request: SocketModeRequest) -> None:
        # Runs in a thread of the client, which must be free at once for the next interaction.
        heard = asyncio.run_coroutine_threadsafe(_take(client, actions, request), loop)
        under_way.add(heard)
        heard.add_done_callback(under_way.discard)

    client.socket_mode_request_listeners.append(hear)
    connecting = asyncio.create_task(_connect(client))
    try:
        yield
    finally:
        connecting.cancel()
        if under_way:
            await asyncio.wait(map(asyncio.wrap_future, list(under_way)), timeout=GRACE_SECONDS)
        await asyncio.to_thread(client.close)


async def _connect(client: SocketModeClient) -> None:
    """Connect for the first time; later the client reconnects by itself."""
    delay = FIRST_DELAY
    while True:
        try:
            await asyncio.to_thread(client.connect)
        except SlackApiError as error:
            _log.warning("HIBERNAUT_SLACK_APP_TOKEN: no Socket Mode: %s", error.response.get("error"))
        except (OSError, HTTPException, ValueError, SlackClientError) as error:
            _log.warning("no Socket Mode: Slack cannot be reached: %s", error)
        else:
            return
        await asyncio.sleep(delay)
        delay = min(delay * 2, LONGEST_DELAY)


async def _take(client: SocketModeClient, actions: SlackActions, request: SocketModeRequest) -> None:
    """Handle an interaction, and acknowledge it once it is safe; otherwise Slack shows a failure."""
    if request.type != "interactive":
        return
    try:
        reply = await actions.take(Interaction.model_validate(request.payload))
        answer = SocketModeResponse(request.envelope_id, reply.body)
        await asyncio.to_thread(client.send_socket_mode_response, answer)
    except Exception as error:
        _log.warning("what somebody pressed in Slack was not taken: %s", problem_of(error).detail)
        return
    if reply.afterwards:
        await reply.afterwards()
