"""The worlds of recorded agents: a code base, a market, a web site, a mail server. Always the same."""

from __future__ import annotations

import json
import os
import shutil
from decimal import Decimal
from email import message_from_bytes, policy
from pathlib import Path
from typing import ClassVar, Self

from aiosmtpd.controller import Controller
from aiosmtpd.handlers import Sink
from aiosmtpd.smtp import SMTP, Envelope, Session

from common.agents.agent import AgentInput
from common.agents.auditor import AuditInput
from common.agents.batch_agent import BatchInput
from common.agents.buyer import BuyerInput
from common.agents.contracts import ContractReaderInput, ContractsInput
from common.agents.market import MarketInput
from common.agents.recruiter import RecruiterInput
from common.agents.researcher import ResearcherInput
from tests.support.web import Route, WebServer

SHOP = Path(__file__).parents[1] / "samples" / "shop"
# A fixed path, so that recordings are the same on every machine.
FOLDER = Path("/tmp/hibernaut-recording")


class World:
    """What agents of a kind work on; entered before the worker starts, which reads the environment."""

    kind: ClassVar[str]
    environment: ClassVar[dict[str, str]] = {}

    def __enter__(self) -> Self:
        os.environ.update(self.environment)
        return self

    def __exit__(self, *_: object) -> None:
        for name in self.environment:
            del os.environ[name]

    def prepare(self, name: str, *, exists: bool) -> AgentInput:
        """Create what the agent `name` works on, and return its input."""
        raise NotImplementedError

    def change(self, name: str) -> None:
        """Change a fact that the agent's plan depends on."""
        raise NotImplementedError


class AuditWorld(World):
    """A copy of the sample shop for each agent."""

    kind = "code-auditor"

    def prepare(self, name: str, *, exists: bool) -> AgentInput:
        folder = FOLDER / name
        if exists:
            shutil.copytree(SHOP, folder)
        return AuditInput(path=str(folder), apply=True)

    def change(self, name: str) -> None:
        (FOLDER / name / "shop" / "mail.py").write_text("import os\n\nSENDER = f'shop'\n")


class MarketWorld(World):
    """A folder of documents for each agent, and constant prices."""

    kind = "buyer"
    environment: ClassVar = {"HIBERNAUT_QUOTES_SPEED": "0"}

    def prepare(self, name: str, *, exists: bool) -> AgentInput:
        folder = FOLDER / name
        folder.mkdir(parents=True)
        (folder / "outlook.md").write_text(
            "# Outlook\n\nKO has grown its earnings in each of the last four quarters. Its price is low "
            "for what it earns. A risk is that sugar may be taxed.\n"
        )
        tolerance = {"tolerance": Decimal("0.02")} if name.endswith("within") else {}
        return BuyerInput(
            symbol="KO", quantity=Decimal(10), limit=Decimal(50), documents=str(folder), **tolerance
        )

    def change(self, name: str) -> None:
        (FOLDER / name / "news.md").write_text("# News\n\nThe outlook of KO was lowered this morning.\n")


class BatchWorld(MarketWorld):
    """A file of two orders for each agent, and one invalid line."""

    kind = "batch"

    def prepare(self, name: str, *, exists: bool) -> AgentInput:
        orders = [super(BatchWorld, self).prepare(f"{name}/{key}", exists=exists) for key in ("one", "two")]
        lines = [
            json.dumps({"id": key} | order.model_dump(mode="json", exclude_defaults=True))
            for key, order in zip(("one", "two"), orders, strict=True)
        ]
        file = FOLDER / name / "orders.jsonl"
        file.write_text("\n".join([*lines, "nothing of the kind"]))
        return BatchInput(kind="buyer", items=str(file), at_once=1 if name.endswith("widened") else 2)


class IndexWorld(World):
    """A constant price in a market that is always open, so that the agent asks people before long."""

    kind = "market-analyst"
    environment: ClassVar = {"HIBERNAUT_QUOTES_SPEED": "0"}

    def prepare(self, name: str, *, exists: bool) -> AgentInput:
        return MarketInput.model_validate(
            {
                "index": "KO",
                "calendar": "24/7",
                "for": "3m",
                "every": "1m",
                "rules": "above 5 alert; stale 1m ask",
            }
        )


class ContractWorld(World):
    """A folder of two contracts for each agent, one of them under an unusual law."""

    kind = "contract-auditor"
    text = (
        "Services Agreement\n\nTerm. The initial term of this Agreement is one year.\n\n"
        "Liability. Neither party's aggregate liability shall exceed the fees paid in the twelve months "
        "before.\n\n"
        "Termination. Either party may terminate this Agreement upon sixty days' notice.\n\n"
        "Governing law. This Agreement is governed by the laws of {}.\n"
    )

    def prepare(self, name: str, *, exists: bool) -> AgentInput:
        folder = FOLDER / name
        folder.mkdir(parents=True)
        for file, law in (("one.txt", "Bermuda"), ("two.txt", "Germany")):
            (folder / file).write_text(self.text.format(law))
        return ContractsInput(folder=str(folder), at_once=2)

    def change(self, name: str) -> None:
        (FOLDER / name / "two.txt").write_text(self.text.format("Panama"))


class ContractReaderWorld(ContractWorld):
    """One contract for each agent."""

    kind = "contract-reader"

    def prepare(self, name: str, *, exists: bool) -> AgentInput:
        super().prepare(name, exists=exists)
        return ContractReaderInput(file=str(FOLDER / name / "one.txt"))


class SiteWorld(World):
    """A site of three pages on loopback, always on the same port."""

    kind = "link-researcher"
    host, port = "127.0.0.2", 18_080
    environment: ClassVar = {
        "HIBERNAUT_ALLOWED_HOSTS": f"{host}:{port}",
        "HIBERNAUT_FETCH_RATE": "20",
    }
    pages: ClassVar = {
        "/tides": "The tides of the harbour rise twice a day and fall twice a day.",
        "/pilots": "Pilots of the harbour wait for high tides before they bring a ship in.",
        "/charts": "Charts of the harbour show how deep it is when its tides are low.",
    }

    def __enter__(self) -> Self:
        self._site = WebServer(host=self.host, port=self.port)
        return super().__enter__()

    def __exit__(self, *_: object) -> None:
        super().__exit__()
        self._site.close()

    def prepare(self, name: str, *, exists: bool) -> AgentInput:
        self._site.routes = {path: self._page(path, text) for path, text in self.pages.items()}
        links = "".join(f'<p><a href="{path}">The harbour and its tides</a></p>' for path in self.pages)
        self._site.routes["/"] = Route(f"<html><body>{links}</body></html>")
        (FOLDER / name / "reports").mkdir(parents=True)
        return ResearcherInput(
            topic="the tides of a harbour",
            sites=[self._site.url()],
            links=3,
            publish=str(FOLDER / name / "reports"),
        )

    def change(self, name: str) -> None:
        text = "The tides of the harbour no longer rise twice a day, the pilots of the harbour say."
        self._site.routes["/tides"] = self._page("/tides", text)

    @staticmethod
    def _page(path: str, text: str) -> Route:
        return Route(f"<html><title>{path[1:]}</title><body><main><p>{text}</p></main></body></html>")


class MailSink(Sink):
    """Accepts every mail and keeps its text."""

    def __init__(self) -> None:
        super().__init__()
        self.texts: list[str] = []

    async def handle_DATA(self, _server: SMTP, _session: Session, envelope: Envelope) -> str:
        mail = message_from_bytes(envelope.original_content or b"", policy=policy.default)
        if body := mail.get_body(("plain",)):
            self.texts.append(body.get_content())
        return "250 OK"


class MailWorld(World):
    """Two candidates, slots in the far future, and a mail server on loopback that accepts everything."""

    kind = "recruiter"
    port = 18_025
    environment: ClassVar = {
        "HIBERNAUT_SMTP": f"smtp://127.0.0.1:{port}",
        "HIBERNAUT_MAIL_FROM": "agents@example.com",
        "HIBERNAUT_MAIL_REPLY_TO": "answers@example.com",
        "HIBERNAUT_PUBLIC_URL": "http://localhost:8080",
    }

    def __enter__(self) -> Self:
        self.letters = MailSink()
        self._server = Controller(self.letters, hostname="127.0.0.1", port=self.port)
        self._server.start()
        return super().__enter__()

    def __exit__(self, *_: object) -> None:
        super().__exit__()
        self._server.stop()

    def prepare(self, name: str, *, exists: bool) -> AgentInput:
        slots = [
            {
                "start": f"2099-12-0{day}T10:00",
                "end": f"2099-12-0{day}T10:45",
                "zone": "Europe/Berlin",
                "interviewer": "ann@example.com",
            }
            for day in (1, 2, 3)
        ]
        people = [
            {"id": f"c{number}", "name": f"Candidate Nr{number}", "email": f"c{number}@example.com"}
            for number in (1, 2)
        ]
        return RecruiterInput.model_validate(
            {
                "role": {"title": "Keeper of tides", "must_have": ["tide tables"]},
                "candidates": [
                    each | {"profile": "I am 40 years old. I keep tide tables."} for each in people
                ],
                "questions": ["When could you start?"],
                "slots": slots,
            }
        )


class ServedWorld(MarketWorld):
    """A market world whose notices go out by mail, so that couriers deliver them."""

    port = 18_026
    routes = Path("/tmp/hibernaut-recording-notices.json")
    environment: ClassVar = {
        **MarketWorld.environment,
        **MailWorld.environment,
        "HIBERNAUT_SMTP": f"smtp://127.0.0.1:{port}",
        "HIBERNAUT_NOTICES": str(routes),
    }

    def __enter__(self) -> Self:
        people = {"local": {"email": "local@example.com"}}
        self.routes.write_text(json.dumps({"people": people, "routes": [{"ways": ["email"]}]}))
        self._server = Controller(Sink(), hostname="127.0.0.1", port=self.port)
        self._server.start()
        return super().__enter__()

    def __exit__(self, *_: object) -> None:
        super().__exit__()
        self._server.stop()
        self.routes.unlink()
