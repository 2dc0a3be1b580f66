"""How plans and results are shown: as their types say, by one renderer for page, mail, Slack and terminal."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import AwareDatetime, BaseModel
from starlette.requests import Request

from activities.delivery import slack_blocks
from activities.mail.notice_words import notice_words
from cli.format import approval_lines
from common.agents.budget import BudgetPlan
from common.agents.buyer import BuyPlan
from common.agents.kinds import KINDS, shown_as
from common.approval.markdown_view import MAX_CHARACTERS, markdown_html
from common.approval.plan_parts import Bullets, Changes, File, Prose, Records, Table
from common.approval.plan_text import plan_lines, whole_lines
from common.approval.plan_view import RenderContext, show_plan, without_paths
from common.approval.signing import Signer
from common.approval.types import ApprovalPolicy, ApprovalRequest
from common.approval.values import facts_in_words, label_of
from common.artifacts import ArtifactStore
from common.key_ring import KeyRing
from common.notices.types import Delivery, Notice, NoticeEvent
from common.object_store import FolderStore
from common.quotes import Quote
from common.shown import Shown
from gateway.pages import page
from gateway.request_view import RequestView

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
REF = {"sha256": "b" * 64, "size": 12345, "agent": "c" * 32}
PLAN = BuyPlan(
    symbol="ACME", quantity=Decimal(10), limit=Decimal("190.00"), tolerance=Decimal("0.015"),
    quote=Quote(symbol="ACME", price=Decimal("187.5"), at=NOW, source="sample"), time_in_force="day",
    case="It rises.\nIt may fall.", documents="d" * 64, model="offline",
).model_dump(mode="json")  # fmt: skip


class Note(BaseModel):
    to: Annotated[str, Shown("Recipient", heading=True)]
    body: Annotated[str, Shown(form="text")]


class Offer(BaseModel):
    letter: Annotated[str, Shown("The letter", form="markdown", order=1)]
    within: Annotated[timedelta, Shown("Answered within")]
    price: Annotated[Decimal, Shown("Price", currency="EUR")]
    at: AwareDatetime
    notes: tuple[Note, ...] = ()
    secret: Annotated[str, Shown("Internal number", internal=True)] = "7"

    @property
    def twice(self) -> Annotated[Decimal, Shown("Twice", currency="EUR")]:
        return self.price * 2

    @property
    def untold(self) -> int:
        return 1


def lines_of(plan: dict[str, Any], kind: type[BaseModel] | None = None) -> list[str]:
    return list(plan_lines(show_plan(plan, kind).items))


def test_a_plan_is_shown_as_its_type_says() -> None:
    """Labels, order, money, durations, times; what follows from it; no property that was not declared."""
    offer = Offer(letter="**Hi**", within=timedelta(days=2, hours=3), price=Decimal("1900"), at=NOW)
    plan = offer.model_dump(mode="json")
    assert lines_of(plan, Offer) == [
        "Answered within: 2 days 3 hours",
        "Price: 1,900 EUR",
        "At: 2026-11-24 12:00 UTC",
        "Notes: none",
        "Twice: 3,800 EUR",
        "The letter:",
        "  **Hi**",
    ]


def test_what_is_internal_is_folded_and_never_absent() -> None:
    """It is behind the whole plan on a page, and last wherever there is no folding."""
    shown = show_plan(Offer(letter="x", within="P1D", price=1, at=NOW).model_dump(mode="json"), Offer)
    assert not any("Internal" in each.label for each in shown.items)
    assert list(whole_lines(shown))[-2:] == ["Also in this plan:", "  Internal number: 7"]
    assert json.loads(shown.whole)["secret"] == "7"


@pytest.mark.parametrize(
    "plan",
    [
        {"price": "soon", "within": "later", "at": "then", "letter": 3},
        {"price": None, "within": None, "at": None, "letter": None},
        {"price": {"a": 1}, "within": [1], "at": {}, "letter": ["x", {"y": [[[[[1]]]]]}]},
    ],
)
def test_a_plan_that_does_not_fit_its_type_is_shown_all_the_same(plan: dict[str, Any]) -> None:
    """Plans outlive the code that made them, and people edit them."""
    assert [each.name for each in show_plan(plan, Offer).items if each.name != "letter"] == [
        "within", "price", "at",
    ]  # fmt: skip
    assert len(show_plan({**plan, "more": 1}, Offer).items) == 5


def test_records_of_long_text_are_blocks_and_short_ones_a_table() -> None:
    """With their line breaks; a diff is one wherever it stands; an artifact has an address."""
    plan = {
        "letters": [{"to": "a@x.test", "body": "Dear Ada,\n\nyes."}, {"to": "b@x.test", "body": "No."}],
        "legs": [{"symbol": "A", "shares": 1}, {"symbol": "B", "shares": 2}],
        "patch": "--- a/x\n+++ b/x\n@@ -1 +1 @@\n-old\n+new\n",
        "stored": REF,
    }
    letters, legs, patch, stored = (each.part for each in show_plan(plan, None).items)
    assert isinstance(letters, Records)
    assert isinstance(letters.records[0].items[1].part, Prose)
    assert isinstance(legs, Table)
    assert isinstance(patch, Changes)
    assert [line.kind for line in patch.diff.lines] == ["file", "file", "hunk", "removed", "added"]
    assert stored == File("stored.txt", f"artifacts/{'b' * 64}/stored.txt", "12,345 bytes")
    typed = show_plan({**{"notes": plan["letters"]}, "x": 1}, None)
    assert typed.items[0].label == "Notes"
    texts = lines_of(plan)
    assert texts[texts.index("Letters:") + 1 :][:5] == [
        "  - To: a@x.test", "    Body:", "      Dear Ada,", "      ", "      yes.",
    ]  # fmt: skip


def test_the_files_of_an_agent_are_named_and_their_folder_is_not() -> None:
    """On a page they lead to themselves; over HTTP a result has their names; a terminal has the path."""
    result = {
        "contracts": 1, "verdicts": {}, "quarantined": 0, "findings": 0, "asked": 0, "accepted": 0,
        "reread": 0, "worst": [], "report": {"html": "/srv/data/a/contracts.html"},
    }  # fmt: skip
    kind = shown_as("contract-auditor", result)
    assert without_paths(result, kind)["report"] == {"html": "contracts.html"}
    shown = show_plan(result, kind, RenderContext(files=["contracts.html"]))
    assert shown.items[0].part.items == [File("contracts.html", "files/contracts.html", "")]  # type: ignore[union-attr]
    assert "/srv" not in "\n".join(whole_lines(shown))
    assert "/srv/data/a/contracts.html" in "\n".join(
        whole_lines(show_plan(result, kind, RenderContext(is_local=True)))
    )


def test_a_result_begins_with_its_page_and_says_nothing_of_what_is_blank() -> None:
    """The page comes first, an ending is not said twice, and nobody is told that there is no reason."""
    result = {
        "outcome": "bought", "symbol": "KO", "quantity": "10", "limit": "50", "reason": "", "decision": "yes",
    }  # fmt: skip
    shown = show_plan(result, shown_as("buyer", result))
    assert [each.label for each in shown.items if each.label in ("Why", "What people decided")] == [
        "What people decided"
    ]
    assert '"reason": ""' in shown.whole
    result = {
        "contracts": 1, "verdicts": {}, "quarantined": 0, "findings": 0, "asked": 0, "accepted": 0,
        "reread": 0, "worst": [],
        "report": {"sarif": "/d/a.sarif", "undo": "/d/b.patch", "html": "/d/c.html"},
    }  # fmt: skip
    files = show_plan(
        result, shown_as("contract-auditor", result), RenderContext(files=["a.sarif", "b.patch", "c.html"])
    )
    assert isinstance(files.items[0].part, Bullets)
    assert [(each.name, each.about) for each in files.items[0].part.items if isinstance(each, File)] == [
        ("c.html", ""), ("a.sarif", ""), ("b.patch", "undo"),
    ]  # fmt: skip


def test_the_facts_of_a_notebook_are_words() -> None:
    """Names without underscores, times with their zone, nothing of what is empty."""
    facts = {
        "left_out": 0,
        "at": "2008-11-03T00:00:00+00:00",
        "reason": "",
        "skipped": [],
        "by": {"a_b": 10_000},
    }
    assert facts_in_words(facts) == "left out: 0, at: 2008-11-03 00:00 UTC, skipped: none, by: a_b: 10,000"
    assert facts_in_words({"when": "2008-11-03T25:00:00Z", "digest": "d" * 64}) == (
        f"when: 2008-11-03T25:00:00Z, digest: {'d' * 12}"
    )
    assert (label_of("budget_usd"), label_of("usdx")) == ("Budget USD", "Usdx")


async def test_page_mail_slack_and_terminal_say_the_same(tmp_path: Path) -> None:
    """Each shows every label and value of the plan, the total among them, and leads to its files."""
    request = ApprovalRequest(
        id="r-1", question="Buy?", plan={**PLAN}, digest="d" * 64, requester="o", asked_at=NOW,
        policy=ApprovalPolicy(approvers=("ann",), editable=("limit",)),
    )  # fmt: skip
    view = await RequestView.of(request, "buyer", ArtifactStore(FolderStore(tmp_path)), "/approve/x")
    answer = page(
        Request({"type": "http", "path": "/approve/x", "headers": []}), "approve.html",
        asked=view, view={"id": "a", "kind": "k"}, link={"approver": "ann"}, action="/", guard="g", used=None,
    )  # fmt: skip
    notice = Notice(
        id="a/r/1", agent="a", kind="buyer", owner="o", event=NoticeEvent.ASKED, text="t", request=request
    )
    delivery = Delivery(notice=notice, way="email", address="a@example.com", person="ann")
    words = notice_words(delivery, "https://x.test", Signer(KeyRing.of({"k": b"1" * 32})), NOW)
    blocks = slack_blocks.asked(notice, request, view.plan, "token", "https://x.test")
    shown = {
        "page": bytes(answer.body).decode(),
        "text": words.text,
        "html": words.html,
        "slack": json.dumps(blocks, ensure_ascii=False),
        "terminal": "\n".join(approval_lines("a", "buyer", request)),
    }
    for where, text in shown.items():
        for said in ("The total is at most", "1,900.00", "1.5%", "It may fall.", "by offline", "187.5"):
            assert said in text, (where, said)
        assert "Digest of the documents" in text or where == "page", where
    assert "Everything in this plan, as it is signed" in shown["page"]
    assert '<label for="edit-r-1-limit">At most, each</label>' in shown["page"]
    request = request.model_copy(update={"plan": {"stored": REF}})
    delivery = delivery.model_copy(update={"notice": notice.model_copy(update={"request": request})})
    words = notice_words(delivery, "https://x.test", Signer(KeyRing.of({"k": b"1" * 32})), NOW)
    [address] = [word for word in words.text.split() if word.endswith("/stored.txt")]
    assert address.startswith("https://x.test/approve/")
    assert f'href="{address}"' in words.html
    blocks = slack_blocks.asked(notice, request, show_plan(request.plan, None), "t", "https://x.test/p")
    assert f"<https://x.test/p/artifacts/{'b' * 64}/stored.txt|stored.txt (12,345 bytes)>" in json.dumps(
        blocks
    )


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("# Big", '<p class="heading">Big</p>'),
        ("<script>x</script>", "<p>&lt;script&gt;x&lt;/script&gt;</p>"),
        ("[x](javascript:alert(1))", "<p>[x](javascript:alert(1))</p>"),
        ("[x](/ui/agents/a)", "<p>[x](/ui/agents/a)</p>"),
        (
            "[bank](https://evil.test)",
            '<p><a href="https://evil.test" rel="noopener noreferrer nofollow">bank</a> (https://evil.test)</p>',
        ),
        (
            "![x](https://evil.test/a.png)",
            '<p>!<a href="https://evil.test/a.png" rel="noopener noreferrer nofollow">x</a> '
            "(https://evil.test/a.png)</p>",
        ),
        ("a &#x202e; b\u200b", r"<p>a \u202e b\u200b</p>"),
        ("[a]: https://unseen.test", "<p>[a]: https://unseen.test</p>"),
    ],
)
def test_markdown_does_nothing(text: str, shown: str) -> None:
    """No HTML, no script, no picture; a link says where it leads, and nothing is unseen."""
    assert markdown_html(text).strip() == shown


@given(st.text(max_size=300))
def test_no_markdown_has_a_tag_of_its_own_or_an_unseen_character(text: str) -> None:
    """Whatever it is."""
    html = markdown_html(text)
    assert "<img" not in html
    assert "style=" not in html.replace(text, "")
    assert "\u202e" not in html


def test_markdown_that_is_too_long_is_plain_text() -> None:
    """Parsing it could take long."""
    assert markdown_html("<b>" + "*" * MAX_CHARACTERS).startswith("&lt;b&gt;***")


def test_every_plan_and_result_is_told_apart() -> None:
    """Of all kinds: what is asked or comes out is shown by its own type and no other."""
    for kind in KINDS.values():
        names = [set(each.model_fields) for each in (*kind.shows, BudgetPlan)]
        assert len({frozenset(each) for each in names}) == len(names), kind.name
    assert shown_as("buyer", PLAN) is BuyPlan
    assert shown_as("no such kind", PLAN) is None
    assert shown_as("buyer", "done") is None
