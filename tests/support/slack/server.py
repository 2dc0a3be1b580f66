"""A simulated Slack that checks like Slack does: its Web API, button presses, Socket Mode."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import hmac
import json
import re
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlencode

import httpx
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

from common.settings.slack import SlackSettings
from tests.support.serving import Serving
from tests.support.slack.checks import message_flaw, view_flaw

BOT_TOKEN, APP_TOKEN, SIGNING_SECRET = "xoxb-1-test", "xapp-1-test", "8f742231b10e8888abcd99yyyzzz85a5"
MANIFEST = Path(__file__).parents[3] / "docs" / "slack.md"


@dataclass
class Channel:
    """A channel or, with a `user`, the direct messages with that user. The newest message is last."""

    user: str = ""
    archived: bool = False
    joined: bool = True
    messages: list[dict[str, Any]] = field(default_factory=list)


@dataclass(frozen=True)
class Fault:
    """The answer to one call instead of the normal one; with `after` the call takes effect all the same."""

    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    error: str = ""
    after: bool = False


class ApiError(Exception):
    """An answer with `ok: false`."""


class SlackServer:
    """A simulated Slack, served at `address` within the context."""

    def __init__(self) -> None:
        self.channels = {
            "C0GENERAL": Channel(),
            "C0OLD": Channel(archived=True),
            "C0ALIEN": Channel(joined=False),
        }
        self.users = {"U0ANN", "U0BOB", "U0EVE"}
        self.scopes = set(manifest()["oauth_config"]["scopes"]["bot"])
        self.calls: list[tuple[str, dict[str, Any]]] = []
        self.faults: list[tuple[str, Fault]] = []
        self.words: list[tuple[str, dict[str, Any]]] = []
        self.views: list[dict[str, Any]] = []
        self.connections = 0
        # Every call gets a 503.
        self.down = False
        self._triggers: set[str] = set()
        self._socket: WebSocket | None = None
        self._acks: dict[str, asyncio.Future[dict[str, Any]]] = {}
        self._count = 0
        routes = [
            Route("/api/{method}", self._api, methods=["POST"]),
            Route("/actions/{id}", self._hear, methods=["POST"]),
            WebSocketRoute("/link/", self._link),
        ]
        self._serving = Serving(Starlette(routes=routes))
        self.address = self._serving.address

    async def __aenter__(self) -> SlackServer:
        await self._serving.__aenter__()
        return self

    async def __aexit__(self, *_: Any) -> None:
        await self._serving.__aexit__(None, None, None)

    def settings(self, *, socket: bool = False) -> SlackSettings:
        return SlackSettings(
            bot_token=BOT_TOKEN,
            signing_secret=SIGNING_SECRET,
            app_token=APP_TOKEN if socket else "",
            api=f"{self.address}/api/",
        )

    def message(self, channel: str, ts: str) -> dict[str, Any]:
        return next(each for each in self.channels[channel].messages if each["ts"] == ts)

    # Actions of people.

    def pressed(self, channel: str, ts: str, action: str, user: str, **changes: Any) -> dict[str, Any]:
        """Slack's payload when `user` presses a button of a message."""
        message = self.message(channel, ts)
        button = next(
            element
            for block in message["blocks"]
            if block["type"] == "actions"
            for element in block["elements"]
            if element["action_id"] == action
        )
        return {
            "type": "block_actions",
            "user": {"id": user, "username": user.lower(), "team_id": "T0"},
            "team": {"id": "T0", "domain": "test"},
            "container": {"type": "message", "message_ts": ts, "channel_id": channel},
            "trigger_id": self._trigger(),
            "response_url": f"{self.address}/actions/{uuid.uuid4().hex}",
            "message": message,
            "actions": [{**button, "block_id": "b1", "action_ts": f"{time.time():.6f}"}],
            **changes,
        }

    def submitted(self, view: dict[str, Any], reason: str, user: str) -> dict[str, Any]:
        """Slack's payload when `user` submits the form."""
        block = next(each for each in view["blocks"] if each["type"] == "input")
        typed = {"type": "plain_text_input", "value": reason}
        values = {block["block_id"]: {block["element"]["action_id"]: typed}}
        return {
            "type": "view_submission",
            "user": {"id": user, "team_id": "T0"},
            "trigger_id": self._trigger(),
            "view": {**view, "id": uuid.uuid4().hex, "state": {"values": values}},
            "response_urls": [],
        }

    def signed(
        self, payload: dict[str, Any], *, age: int = 0, secret: str = SIGNING_SECRET
    ) -> dict[str, Any]:
        """The signed request with that payload, as arguments for an HTTP client; `age` in seconds."""
        body = urlencode({"payload": json.dumps(payload)}).encode()
        at = str(int(time.time()) - age)
        mac = hmac.new(secret.encode(), f"v0:{at}:".encode() + body, hashlib.sha256).hexdigest()
        headers = {
            "Content-Type": "application/x-www-form-urlencoded",
            "X-Slack-Request-Timestamp": at,
            "X-Slack-Signature": f"v0={mac}",
        }
        return {"content": body, "headers": headers}

    async def send(self, gateway: str, payload: dict[str, Any], **how: Any) -> httpx.Response:
        """Send a payload to a gateway's `/slack/actions`."""
        async with httpx.AsyncClient(timeout=120) as client:
            return await client.post(f"{gateway}/slack/actions", **self.signed(payload, **how))

    async def send_by_socket(self, payload: dict[str, Any], within: float = 120) -> dict[str, Any]:
        """Send a payload by Socket Mode; return the acknowledgement."""
        assert self._socket is not None
        id = uuid.uuid4().hex
        self._acks[id] = asyncio.get_running_loop().create_future()
        envelope = {"type": "interactive", "envelope_id": id, "payload": payload}
        await self._socket.send_json({**envelope, "accepts_response_payload": True})
        return await asyncio.wait_for(self._acks[id], within)

    async def refresh(self) -> None:
        """Tell the client to reconnect, like Slack does every few hours."""
        assert self._socket is not None
        await self._socket.send_json({"type": "disconnect", "reason": "refresh_requested"})

    async def drop(self) -> None:
        """Close the connection without notice."""
        assert self._socket is not None
        await self._socket.close(1011)

    def said(self, payload: dict[str, Any]) -> list[str]:
        """The replies to the person who pressed the button."""
        return [words["text"] for url, words in self.words if url == payload["response_url"]]

    async def heard(self, payload: dict[str, Any]) -> str:
        """Wait for the reply to the person who pressed the button; it must be a single line."""
        async with asyncio.timeout(120):
            while not self.said(payload):
                await asyncio.sleep(0.02)
        (words,) = self.said(payload)
        assert "\n" not in words
        return words

    @contextlib.contextmanager
    def failing(self, method: str, fault: Fault) -> Iterator[None]:
        """The next call of `method` gets the fault; such a call must have been made at the end."""
        self.faults.append((method, fault))
        yield
        assert (method, fault) not in self.faults, f"{method} was never called"

    def _trigger(self) -> str:
        trigger = f"{self._next()}.{uuid.uuid4().hex}"
        self._triggers.add(trigger)
        return trigger

    def _next(self) -> int:
        self._count += 1
        return self._count

    # Methods that apps call.

    async def _api(self, request: Request) -> Response:
        method = request.path_params["method"]
        arguments = await _arguments(request)
        self.calls.append((method, arguments))
        if self.down:
            return JSONResponse({"ok": False, "error": "service_unavailable"}, 503)
        fault = next((each for each in self.faults if each[0] == method), None)
        if fault:
            self.faults.remove(fault)
            if fault[1].after:
                self._answer(method, request.headers.get("authorization", ""), arguments)
            return JSONResponse(
                {"ok": False, "error": fault[1].error}, fault[1].status, headers=fault[1].headers
            )
        try:
            answer = self._answer(method, request.headers.get("authorization", ""), arguments)
        except ApiError as error:
            return JSONResponse({"ok": False, "error": error.args[0], **dict(*error.args[1:])})
        return JSONResponse({"ok": True, **answer})

    def _answer(self, method: str, authorization: str, arguments: dict[str, Any]) -> dict[str, Any]:
        scheme, _, token = authorization.partition(" ")
        if scheme != "Bearer" or not token:
            raise ApiError("not_authed")
        if token != (APP_TOKEN if method == "apps.connections.open" else BOT_TOKEN):
            raise ApiError("invalid_auth")
        return getattr(self, "_" + method.replace(".", "_"))(arguments)

    def _auth_test(self, arguments: dict[str, Any]) -> dict[str, Any]:
        return {"bot_id": "B0", "user_id": "U0APP", "team_id": "T0"}

    def _chat_postMessage(self, arguments: dict[str, Any]) -> dict[str, Any]:
        self._needs("chat:write")
        id, channel = self._channel(arguments["channel"])
        if channel.archived:
            raise ApiError("is_archived")
        if not channel.joined:
            raise ApiError("not_in_channel")
        if flaw := message_flaw(arguments):
            raise ApiError(flaw)
        ts = f"{time.time():.0f}.{self._next():06d}"
        kept = {name: arguments[name] for name in ("text", "blocks", "metadata") if name in arguments}
        channel.messages.append({"type": "message", "bot_id": "B0", "ts": ts, **kept})
        return {"channel": id, "ts": ts}

    def _chat_update(self, arguments: dict[str, Any]) -> dict[str, Any]:
        self._needs("chat:write")
        if arguments["channel"] not in self.channels:
            raise ApiError("channel_not_found")
        messages = self.channels[arguments["channel"]].messages
        found = next((each for each in messages if each["ts"] == arguments["ts"]), None)
        if found is None:
            raise ApiError("message_not_found")
        if found["bot_id"] != "B0":
            raise ApiError("cant_update_message")
        if flaw := message_flaw(arguments):
            raise ApiError(flaw)
        found.update({name: arguments[name] for name in ("text", "blocks", "metadata") if name in arguments})
        return {"channel": arguments["channel"], "ts": arguments["ts"]}

    def _conversations_open(self, arguments: dict[str, Any]) -> dict[str, Any]:
        self._needs("im:write")
        return {"channel": {"id": self._channel(arguments["users"])[0]}}

    def _conversations_history(self, arguments: dict[str, Any]) -> dict[str, Any]:
        id = arguments["channel"]
        self._needs("im:history" if id.startswith("D") else "channels:history")
        if id not in self.channels:
            raise ApiError("channel_not_found")
        if not self.channels[id].joined:
            raise ApiError("not_in_channel")
        found = [
            each
            for each in reversed(self.channels[id].messages)
            if float(each["ts"]) > float(arguments.get("oldest") or 0)
        ]
        start, limit = int(arguments.get("cursor") or 0), int(arguments.get("limit") or 100)
        with_metadata = arguments.get("include_all_metadata") in ("1", "true", True)
        shown = [
            {name: value for name, value in each.items() if with_metadata or name != "metadata"}
            for each in found[start : start + limit]
        ]
        rest = str(start + limit) if len(found) > start + limit else ""
        return {"messages": shown, "response_metadata": {"next_cursor": rest}}

    def _views_open(self, arguments: dict[str, Any]) -> dict[str, Any]:
        if arguments["trigger_id"] not in self._triggers:
            raise ApiError("expired_trigger_id")
        view = arguments["view"] if isinstance(arguments["view"], dict) else json.loads(arguments["view"])
        if flaw := view_flaw(view):
            raise ApiError(flaw)
        self._triggers.remove(arguments["trigger_id"])
        self.views.append(view)
        return {"view": view}

    def _apps_connections_open(self, arguments: dict[str, Any]) -> dict[str, Any]:
        return {"url": f"{self.address.replace('http', 'ws', 1)}/link/?ticket={uuid.uuid4().hex}"}

    def _needs(self, scope: str) -> None:
        if scope not in self.scopes:
            raise ApiError("missing_scope", {"needed": scope, "provided": ",".join(sorted(self.scopes))})

    def _channel(self, address: str) -> tuple[str, Channel]:
        if address in self.channels:
            return address, self.channels[address]
        if address not in self.users:
            raise ApiError("channel_not_found")
        id = f"D{address[1:]}"
        return id, self.channels.setdefault(id, Channel(user=address))

    async def _hear(self, request: Request) -> Response:
        self.words.append((str(request.url), await request.json()))
        return Response("ok")

    async def _link(self, socket: WebSocket) -> None:
        await socket.accept()
        self.connections += 1
        self._socket = socket
        await socket.send_json({"type": "hello", "num_connections": 1})
        with contextlib.suppress(WebSocketDisconnect, RuntimeError):
            while True:
                ack = await socket.receive_json()
                self._acks[ack["envelope_id"]].set_result(ack.get("payload") or {})


def manifest() -> dict[str, Any]:
    """The app manifest from the documentation."""
    found = re.search("```json\n(.+?)```", MANIFEST.read_text(), re.DOTALL)
    assert found
    app: dict[str, Any] = json.loads(found[1])
    return app


async def _arguments(request: Request) -> dict[str, Any]:
    body = (await request.body()).decode()
    if request.headers.get("content-type", "").startswith("application/json"):
        found: dict[str, Any] = json.loads(body or "{}")
        return found
    return dict(parse_qsl(body, keep_blank_values=True))
