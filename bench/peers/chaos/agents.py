"""One agent of each kind under chaos: its input, what people do about it, and its witnesses.

`witnessed` compares what the agent reports at its end with what was observed outside.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import ClassVar, Protocol

from pydantic import JsonValue

from activities.batch.listing import read_verdicts
from bench.peers.chaos.outside import MAILBOX, PRICE, Outside, files_below
from common.agents.agent import AgentInput
from common.agents.auditor import AuditInput, AuditResult
from common.agents.batch import Verdict as ItemVerdict
from common.agents.batch_agent import BatchInput, BatchResult
from common.agents.buyer import BuyerInput, BuyerResult, BuyOutcome
from common.agents.contracts import ContractsInput, ContractsResult
from common.agents.market import MarketInput, MarketResult
from common.agents.recruiter import RecruiterInput, RecruiterResult
from common.agents.researcher import ResearcherInput, ResearchOutcome, ResearchResult
from common.approval.types import Verdict
from common.artifacts import ArtifactStore
from common.client.rows import AgentRow
from common.mail import SentStatus
from tests.support.auditor.code_base import FLAWED, code_base
from tests.support.contracts.formats import write_contracts
from tests.support.mail.mails import mail
from tests.support.mail.smtp_server import ReceivedMail

LIMIT = Decimal(11)
FILES = 40
CONTRACTS = 3
RISEN = Decimal(12)
MENDED = FLAWED.removeprefix("import os\n")


class PeopleActions(Protocol):
    """What people can do to an agent besides deciding; each is done twice."""

    async def tell(self, id: str, text: str) -> None: ...

    async def wake(self, id: str) -> None: ...

    async def mail(self, agent: str, thread: str, data: bytes) -> None: ...


@dataclass(frozen=True)
class CaseContext:
    """Where agents work: the outside world, a folder that is never full, and the bucket's artifacts."""

    outside: Outside
    folder: Path
    artifacts: ArtifactStore


class Case:
    """One agent; `number` distinguishes those of a kind."""

    kind: ClassVar[str]

    def __init__(self, number: int, context: CaseContext) -> None:
        self.id = f"{self.kind}-{number:04}"
        self.number = number
        self.context = context
        self.outside = context.outside
        self.folder = context.folder / self.id
        self.input = self.prepare()

    def prepare(self) -> AgentInput:
        """Create what it works on, and return its input."""
        raise NotImplementedError

    @property
    def asking(self) -> Sequence[str]:
        """The agents that ask: itself, or its batch's agents."""
        return (self.id,)

    @property
    def verdict(self) -> Verdict:
        """What people decide."""
        return Verdict.APPROVE

    async def look_after(self, row: AgentRow, people: PeopleActions) -> None:
        """What people do from time to time while it runs."""

    async def after_decision(self, people: PeopleActions) -> None:
        """What people do once they have decided."""

    def witnessed(self, result: JsonValue) -> Counter[str]:
        """Count `effects` seen outside, and what is wrong with them.

        `duplicated` effects happened twice, `missing` ones were reported but not seen, and `forbidden` ones
        were never approved.
        """
        raise NotImplementedError


def compared(seen: int, told: int, *, most: int | None = None) -> Counter[str]:
    """Compare effects seen with those reported; up to `most` are fine if the agent cannot know."""
    return Counter(
        effects=seen,
        duplicated=max(0, seen - (told if most is None else most)),
        missing=max(0, told - seen),
    )


class BuyerCase(Case):
    """A buyer; every third is rejected."""

    kind = "buyer"

    def prepare(self) -> AgentInput:
        self.folder.mkdir(parents=True)
        (self.folder / "outlook.md").write_text("# Outlook\n\nIt has grown in each quarter. It is cheap.\n")
        self.symbol = f"S{self.number:04}"
        return BuyerInput(symbol=self.symbol, quantity=Decimal(2), limit=LIMIT, documents=str(self.folder))

    @property
    def verdict(self) -> Verdict:
        return Verdict.REJECT if self.number % 3 == 1 else Verdict.APPROVE

    def witnessed(self, result: JsonValue) -> Counter[str]:
        said = BuyerResult.model_validate(result)
        orders = self.outside.broker.of(self.symbol)
        if self.verdict is Verdict.REJECT:
            return Counter(effects=len(orders), forbidden=len(orders))
        wrong = compared(len(orders), 1)
        told = (said.outcome, said.client_order_id)
        known = [(BuyOutcome.BOUGHT, each["client_order_id"]) for each in orders]
        return wrong + Counter(missing=bool(orders) and told not in known)


class AuditorCase(Case):
    """An audit of a code base in which every fourth file gets fixed."""

    kind = "code-auditor"

    def prepare(self) -> AgentInput:
        code_base(self.folder, FILES)
        return AuditInput(path=str(self.folder), apply=True)

    def witnessed(self, result: JsonValue) -> Counter[str]:
        said = AuditResult.model_validate(result)
        fixed = 0
        for file in files_below(self.folder):
            text = file.read_text()
            fixed += text == MENDED
            if "import" in text and text not in (FLAWED, MENDED):
                return Counter(missing=1)  # partially written
        return compared(fixed, FILES // 4) + Counter(missing=abs(fixed - said.files_fixed))


class ResearcherCase(Case):
    """Publishes its report to a folder, or to the web site that it reads."""

    kind = "link-researcher"

    def prepare(self) -> AgentInput:
        site = self.outside.site
        self.to_site = self.number % 2 == 1
        self.folder.mkdir(parents=True, exist_ok=True)
        return ResearcherInput(
            topic="the tides of a harbour",
            sites=[f"{site}/site/{self.id}/"],
            links=3,
            publish=f"{site}/reports/{self.id}/" if self.to_site else str(self.folder),
        )

    def witnessed(self, result: JsonValue) -> Counter[str]:
        said = ResearchResult.model_validate(result)
        there = (
            self.outside.web.put_for(self.id)
            if self.to_site
            else {str(file): file.read_bytes() for file in files_below(self.folder)}
        )
        wrong = compared(len(there), len(said.places))
        empty = sum(not data for data in there.values()) + (said.outcome is not ResearchOutcome.PUBLISHED)
        return wrong + Counter(missing=empty + len(said.unread))


class RecruiterCase(Case):
    """One candidate gets as far as an invitation and then withdraws; another declines."""

    kind = "recruiter"

    def prepare(self) -> AgentInput:
        self.answered: dict[str, int] = {}
        slots = [
            {
                "start": f"2099-12-0{day}T10:00",
                "end": f"2099-12-0{day}T10:45",
                "zone": "Europe/Berlin",
                "interviewer": "ann@example.com",
            }
            for day in (1, 2, 3)
        ]
        return RecruiterInput.model_validate(
            {
                "role": {"title": "Keeper of tides", "must_have": ["tide tables"]},
                "candidates": [
                    {"id": name, "name": f"Candidate {name}", "email": self._address(name)}
                    | {"profile": "I keep tide tables."}
                    for name in ("c1", "c2")
                ],
                "slots": slots,
                # A candidate whose letter got lost is written to once more, then left alone.
                "answer_within": "1m",
            }
        )

    async def look_after(self, row: AgentRow, people: PeopleActions) -> None:
        for name in ("c1", "c2"):
            letters = list({each.mail["Message-ID"]: each for each in self._taken(name)}.values())
            for letter in letters[self.answered.get(name, 0) :]:
                self.answered[name] = self.answered.get(name, 0) + 1
                await self._answer(name, letter, people)

    def witnessed(self, result: JsonValue) -> Counter[str]:
        said = RecruiterResult.model_validate(result)
        taken = [each.mail["Message-ID"] for name in ("c1", "c2") for each in self._taken(name)]
        sent, unknown = (said.letters.get(status, 0) for status in (SentStatus.SENT, SentStatus.UNKNOWN))
        wrong = compared(len(set(taken)), sent, most=sent + unknown)
        return wrong + Counter(duplicated=len(taken) - len(set(taken)), unknown_letters=unknown)

    def _address(self, name: str) -> str:
        return f"{self.id}.{name}@example.com"

    def _taken(self, name: str) -> list[ReceivedMail]:
        return self.outside.smtp.to(self._address(name))

    async def _answer(self, name: str, letter: ReceivedMail, people: PeopleActions) -> None:
        said = letter.mail.as_string()
        words = "No thank you, I have accepted another offer."
        if name == "c1":
            words = "Yes, I am interested."
            if "text/calendar" in said:
                words = "I have to withdraw, sorry."
            elif "2099" in said:
                words = "Number 1 works for me."
        to = str(letter.mail["Reply-To"] or MAILBOX)
        number = self.answered[name]
        data = mail(
            words + "\n",
            Delivered_To=to,
            To=to,
            From=self._address(name),
            Subject=f"Re: {letter.mail['Subject']}",
            Message_ID=f"<{self.id}-{name}-{number}@example.com>",
            In_Reply_To=str(letter.mail["Message-ID"]),
        )
        await people.mail(self.id, name, data)


class MarketCase(Case):
    """The price rises while it watches; people are asked, and end the watch."""

    kind = "market-analyst"

    def prepare(self) -> AgentInput:
        self.index = f"M{self.number:04}"
        self.looks = 0
        return MarketInput.model_validate(
            {
                "index": self.index,
                "calendar": "24/7",
                "for": "2h",
                "every": "1m",
                "rules": "above 11 ask",
            }
        )

    async def look_after(self, row: AgentRow, people: PeopleActions) -> None:
        # Move the price until a rise is noticed; do not wait for the next minute.
        self.looks += 1
        if self.looks % 5 == 0 and row.waiting_for in ("the next price", "the market to open"):
            self.outside.web.prices[self.index] = PRICE if self.looks % 10 else RISEN
            await people.wake(self.id)

    async def after_decision(self, people: PeopleActions) -> None:
        await people.tell(self.id, "finish now")

    def witnessed(self, result: JsonValue) -> Counter[str]:
        said = MarketResult.model_validate(result)
        there = sum(Path(file).stat().st_size > 0 for file in said.files.values() if Path(file).exists())
        return compared(there, len(said.files)) + Counter(missing=said.crossings < 1)


class ContractsCase(Case):
    """A few contracts, each read by its own agent."""

    kind = "contract-auditor"

    def prepare(self) -> AgentInput:
        self.made = set(write_contracts(self.folder, CONTRACTS, formats=(".txt", ".html", ".md")))
        return ContractsInput(folder=str(self.folder), at_once=CONTRACTS)

    def witnessed(self, result: JsonValue) -> Counter[str]:
        said = ContractsResult.model_validate(result)
        lines = [json.loads(line) for line in Path(said.report["jsonl"]).read_text().splitlines()]
        verdicts = Counter(line["name"] for line in lines)
        return Counter(
            effects=len(lines),
            duplicated=len(lines) - len(verdicts),
            missing=len(self.made - set(verdicts)) + abs(said.contracts - CONTRACTS),
            set_aside=said.quarantined,
        )


class BatchCase(Case):
    """Two buyers from a file."""

    kind = "batch"

    def prepare(self) -> AgentInput:
        self.folder.mkdir(parents=True)
        self.symbols = {name: f"B{self.number:04}{name}" for name in ("X", "Y")}
        items = self.folder / "items.jsonl"
        items.write_text(
            "\n".join(
                json.dumps({"id": name, "symbol": symbol, "quantity": "1", "limit": str(LIMIT)})
                for name, symbol in self.symbols.items()
            )
        )
        return BatchInput(kind="buyer", items=str(items), at_once=2)

    @property
    def asking(self) -> Sequence[str]:
        return [f"{self.id}.{name}" for name in self.symbols]

    def witnessed(self, result: JsonValue) -> Counter[str]:
        said = BatchResult.model_validate(result)
        orders = [len(self.outside.broker.of(symbol)) for symbol in self.symbols.values()]
        verdicts = [each for ref in said.results for each in read_verdicts(self.context.artifacts, ref)]
        done = Counter(each.key for each in verdicts if each.verdict is ItemVerdict.DONE)
        return Counter(
            effects=sum(orders),
            duplicated=sum(max(0, count - 1) for count in orders) + len(verdicts) - len(self.symbols),
            missing=orders.count(0) + len(set(self.symbols) - set(done)),
            set_aside=said.quarantined,
        )


CASES: tuple[type[Case], ...] = (
    AuditorCase,
    ContractsCase,
    RecruiterCase,
    ResearcherCase,
    MarketCase,
    BatchCase,
    BuyerCase,
)
