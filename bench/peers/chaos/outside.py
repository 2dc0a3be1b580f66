"""The world outside Temporal: real servers and stand-ins on loopback, each behind a fault-injecting proxy.

What they have seen is compared with what the agents report.
"""

from __future__ import annotations

import json
import logging
import os
import random
import re
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import boto3
from moto.server import ThreadedMotoServer

from bench.peers.chaos.proxy import Proxy
from common.digest import digest_bytes
from tests.support.mail.dovecot import DOVECOT, Dovecot, dovecot
from tests.support.mail.smtp_server import SmtpRecorder, smtp_server
from tests.support.model_servers import ModelRequest, ModelServer, serving
from tests.support.s3 import BUCKET, KEY_ID, SECRET, in_bucket
from tests.support.slack.server import BOT_TOKEN, SlackServer
from tests.support.trading import alpaca_server
from tests.support.trading.alpaca_server import AlpacaServer
from tests.support.web import Hit, Route, WebServer, as_json

MAILBOX = "answers@example.com"
CHANNEL = "C0GENERAL"
PRICE = Decimal(10)
_MATERIAL = re.compile(r'<material (\w+) id=("[^"]*") source=[^\n]*>\n(.*?)\n</material \1>', re.DOTALL)


class Broker(AlpacaServer):
    """A broker that fills an order when its status is requested."""

    def __enter__(self) -> Broker:
        super().__enter__()
        # Do not log errors of killed clients.
        self._server.handle_error = lambda *_: None  # type: ignore[method-assign]
        return self

    def of(self, symbol: str) -> list[dict[str, Any]]:
        """The orders for a symbol."""
        return [each for each in list(self.orders.values()) if each["symbol"] == symbol]

    def _do(self, request: Any, body: Any) -> tuple[int, Any]:
        status, answer = super()._do(request, body)
        if request.command == "GET" and status == 200 and "client_order_id" in (answer or {}):
            filled = {"status": "filled", "filled_qty": answer["qty"], "filled_avg_price": str(PRICE)}
            self.orders[answer["client_order_id"]].update(filled)
            answer = {**answer, **filled}
        return status, answer


class Web:
    """A web site: prices, a few pages for each agent to read, and a place to PUT reports."""

    def __init__(self) -> None:
        self.prices: dict[str, Decimal] = {}
        self.reports: dict[str, bytes] = {}
        self.put_twice = 0
        self.server = WebServer()
        self.server.default = Route(self._answer)

    def put_for(self, agent: str) -> dict[str, bytes]:
        """The reports that were PUT for an agent, by path."""
        return {path: data for path, data in self.reports.items() if path.startswith(f"/reports/{agent}/")}

    def _answer(self, hit: Hit) -> Route:
        match hit.path.strip("/").split("/"):
            case ["quote", symbol]:
                return as_json({"price": str(self.prices.get(symbol, PRICE))})
            case ["site", _]:
                return _page(
                    "Harbours", "".join(f'<p><a href="{hit.path}{p}">{w}</a></p>' for p, w in _PAGES)
                )
            case ["site", agent, page]:
                return _page(page, f"<p>{_text(page, agent)}</p>")
            case ["reports", _, _]:
                return self._report(hit)
        return Route("not here", status=404)

    def _report(self, hit: Hit) -> Route:
        stands = self.reports.get(hit.path)
        if hit.method != "PUT":
            return Route("not here", status=404) if stands is None else Route(stands)
        if stands is not None and hit.headers.get("if-none-match") == "*":
            return Route(status=412)
        self.put_twice += stands is not None
        self.reports[hit.path] = hit.body
        return Route(status=201)


_PAGES = (
    ("tides", "The tides of a harbour, and when they rise"),
    ("pilots", "Pilots of a harbour and its tides"),
    ("charts", "Charts of a harbour at low tides"),
)


def _page(title: str, body: str) -> Route:
    return Route(f"<html><title>{title}</title><body><main>{body}</main></body></html>")


def _text(page: str, agent: str) -> str:
    mark = digest_bytes(f"{agent}/{page}".encode())[:8]
    return (
        f"The tides of the harbour rise twice a day and fall twice a day, the {page} of {mark} say. "
        f"Ships enter the harbour {mark} when its tides are high."
    )


class Outside:
    """The outside systems, while entered: `proxies` by name, and the `environment` a worker needs for them.

    `left_out` lists what this machine lacks.
    """

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance
        self.proxies: dict[str, Proxy] = {}
        self.environment: dict[str, str] = {}
        self.left_out: list[str] = []
        self.broker = Broker()
        self.web = Web()
        self.smtp: SmtpRecorder
        self.slack = SlackServer()
        self.imap: Dovecot | None = None
        self.model: ModelServer
        self.s3: dict[str, str]

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Outside]:
        """Start all systems."""
        async with AsyncExitStack() as stack:
            broker = stack.enter_context(self.broker)
            web = stack.enter_context(self.web.server)
            self.model = stack.enter_context(serving("openai", answer))
            self.smtp = await stack.enter_async_context(smtp_server())
            await stack.enter_async_context(self.slack)
            # Its server would log every request.
            logging.getLogger("werkzeug").setLevel(logging.ERROR)
            s3 = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
            s3.start()
            stack.callback(s3.stop)
            s3_port = s3.get_host_and_port()[1]
            if DOVECOT:
                self.imap = await stack.enter_async_context(dovecot())
            else:
                self.left_out.append("IMAP: dovecot is missing; Debian's package dovecot-imapd has it")
            model = await self._behind(stack, "model", self.model.port)
            prices = await self._behind(stack, "web", web.port)
            orders = await self._behind(stack, "broker", int(broker.url.rpartition(":")[2]))
            slack = await self._behind(stack, "slack", int(self.slack.address.rpartition(":")[2]))
            # Only lose answers to complete letters; one whose sending is cut short was not sent.
            smtp = await self._behind(stack, "smtp", self.smtp.port, lambda data: data.endswith(b"\r\n.\r\n"))
            bucket = await self._behind(stack, "s3", s3_port)
            self.s3 = in_bucket(f"http://127.0.0.1:{s3_port}")
            self.environment = {
                "HIBERNAUT_MODEL": "openai:small",
                "HIBERNAUT_MODEL_ADDRESS": f"http://127.0.0.1:{model}/v1",
                "HIBERNAUT_QUOTES": f"http://127.0.0.1:{prices}/quote/{{symbol}}",
                "HIBERNAUT_ALLOWED_HOSTS": f"127.0.0.1:{prices}",
                "HIBERNAUT_BROKER": "alpaca-paper",
                "HIBERNAUT_ALPACA_KEY": alpaca_server.KEY,
                "HIBERNAUT_ALPACA_SECRET": alpaca_server.SECRET,
                "HIBERNAUT_ALPACA_ADDRESS": f"http://127.0.0.1:{orders}",
                "HIBERNAUT_SLACK_BOT_TOKEN": BOT_TOKEN,
                "HIBERNAUT_SLACK_API": f"http://127.0.0.1:{slack}/api/",
                "HIBERNAUT_SMTP": f"smtp://127.0.0.1:{smtp}",
                "HIBERNAUT_MAIL_FROM": "agents@example.com",
                "HIBERNAUT_MAIL_REPLY_TO": MAILBOX,
                "HIBERNAUT_PUBLIC_URL": "http://localhost:8080",
                **in_bucket(f"http://127.0.0.1:{bucket}"),
            }
            os.environ.update(AWS_ACCESS_KEY_ID=KEY_ID, AWS_SECRET_ACCESS_KEY=SECRET)
            os.environ.update(AWS_EC2_METADATA_DISABLED="true")
            if self.imap:
                imap = await self._behind(stack, "imap", self.imap.port)
                self.environment |= self.imap.environment()
                self.environment["HIBERNAUT_IMAP"] = f"imap://127.0.0.1:{imap}"
            boto3.session.Session().client(
                "s3", endpoint_url=self.s3["HIBERNAUT_S3_ENDPOINT"], region_name="us-east-1"
            ).create_bucket(Bucket=BUCKET)
            yield self

    @property
    def site(self) -> str:
        """The web site's address for agents."""
        return f"http://127.0.0.1:{self.proxies['web'].port}"

    def notices(self) -> Counter[str]:
        """How often each notice was posted in Slack, by notice id."""
        channels = list(self.slack.channels.values())
        posted = [each for channel in channels for each in list(channel.messages)]
        return Counter(each["metadata"]["event_payload"]["notice_id"] for each in posted)

    async def _behind(
        self,
        stack: AsyncExitStack,
        name: str,
        port: int,
        is_request: Callable[[bytes], bool] = lambda data: True,
    ) -> int:
        proxy = self.proxies[name] = Proxy(name, port, self._chance, is_request)
        await proxy.start()
        stack.push_async_callback(proxy.stop)
        return proxy.port


def answer(seen: ModelRequest) -> str:
    """Answer as a competent language model: with quotes from the material, and plain readings of mail."""
    text = str(seen.body["messages"][-1]["content"])
    material = {json.loads(name): body for _, name, body in _MATERIAL.findall(text)}
    tools = seen.body.get("tools") or []
    wanted = tools[0]["function"]["parameters"]["properties"] if tools else {}
    if "choice" in wanted:
        return json.dumps({"choice": wanted["choice"]["enum"][0]})
    if "items" in wanted:
        ranked = [
            {"id": id, "score": 0.5, "reason": "it fits", "quote": body[:40]}
            for id, body in material.items()
            if id != "wishes"
        ]
        return json.dumps({"items": ranked})
    if "points" in wanted:
        points = [
            {"says": "so it is", "quote": body.partition(". ")[0], "material": id}
            for id, body in material.items()
            if body.strip()
        ]
        return json.dumps({"points": points[:3]})
    if "says" in wanted:
        mail = next(iter(material.values()), "").lower()
        slot = re.search(r"number (\d)", mail)
        says = "slot" if slot else "no" if "no thank" in mail or "withdraw" in mail else "yes"
        return json.dumps({"says": says, "slot": int(slot[1]) if slot else 0, "back_at": None})
    if "text" in wanted:
        return json.dumps({"text": "We look for somebody who knows the tides. It is a fine harbour."})
    return "It speaks for itself."


def files_below(folder: Path) -> list[Path]:
    """All files below a folder; none if it does not exist."""
    return sorted(each for each in folder.rglob("*") if each.is_file())
