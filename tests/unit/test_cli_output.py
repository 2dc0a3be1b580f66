"""What the CLI shows of untrusted and odd things."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from temporalio.api.workflow.v1 import WorkflowExecutionInfo

from activities.delivery import slack_blocks
from activities.mail.notice_words import notice_words
from cli.children import ROOT, why
from cli.format import PLAN_LINES, row_cells, show_lines
from cli.output import clean, print_document
from common.agents.agent import NotebookEntry, Progress
from common.agents.states import RunStatus
from common.approval import plan_parts
from common.approval.signing import Signer
from common.approval.types import ApprovalPolicy, ApprovalRequest
from common.client.rows import row_of_info
from common.client.view import AgentView
from common.client.visibility import quote
from common.key_ring import KeyRing
from common.lifecycle import NOT_STARTED
from common.names import UnusableValueError
from common.notices.types import Delivery, Notice, NoticeEvent
from gateway import pages

NOW = datetime(2026, 11, 23, tzinfo=UTC)
EVIL = "\x1b]0;owned\x07\x1b[2Jred\r\nline\u202egnp\x9b31m[bold]"


def view(**changes: object) -> AgentView:
    return AgentView.model_validate(
        {
            "id": "a-1",
            "run_id": "r",
            "kind": "code-auditor",
            "owner": "me",
            "status": RunStatus.RUNNING,
            "state": "working",
            "node": "scan",
            "waiting_for": None,
            "wake_at": None,
            "started_at": NOW,
            "closed_at": None,
            "live": True,
            **changes,
        }
    )


@given(st.text())
def test_cleaned_text_is_one_printable_line(text: str) -> None:
    """No text of an agent can steer a terminal."""
    assert clean(text).isprintable()


def test_nothing_an_agent_says_reaches_the_terminal_uncleaned() -> None:
    """Notebook, facts, question, plan, evidence, node, failure and result are all untrusted."""
    request = ApprovalRequest(
        id="ask-1",
        question=EVIL,
        plan={EVIL: [EVIL]},
        digest="d" * 64,
        evidence=(EVIL,),
        policy=ApprovalPolicy(approvers=(EVIL,)),
        requester=EVIL,
        asked_at=NOW,
    )
    shown = show_lines(
        view(
            owner=EVIL,
            node=EVIL,
            waiting_for=EVIL,
            failure=EVIL,
            result={EVIL: EVIL},
            approval=request,
            notebook=[NotebookEntry(at=NOW, node=EVIL, text=EVIL, facts={EVIL: EVIL})],
        )
    )
    assert all(line.isprintable() for line in shown)
    assert any("red" in line for line in shown)


def test_a_long_plan_is_cut_and_says_so() -> None:
    """The question stays on the screen."""
    request = ApprovalRequest(
        id="ask-1",
        question="Fix?",
        plan={"files": list(range(500))},
        digest="d" * 64,
        policy=ApprovalPolicy(),
        requester="me",
        asked_at=NOW,
    )
    lines = show_lines(view(requests=[request]))
    assert len(lines) < PLAN_LINES + 20
    assert any("more lines; --json" in line for line in lines)


@pytest.mark.parametrize(
    ("counted", "under_way", "shown"),
    [
        ((10, 100), (5, 20), (15, 100)),
        ((95, 100), (20, 20), (100, 100)),
        ((0, 0), (5, 20), (5, 20)),
        ((10, 100), (0, 0), (10, 100)),
    ],
)
def test_progress_counts_what_activities_report_and_never_passes_the_total(
    counted: tuple[int, int], under_way: tuple[int, int], shown: tuple[int, int]
) -> None:
    """A long shard shows before it has ended."""
    reported = Progress(done=under_way[0], total=under_way[1])
    found = Progress(done=counted[0], total=counted[1]).with_under_way(reported)
    assert (found.done, found.total) == shown


@given(st.text(alphabet=st.sampled_from("a '\\\"\n\x00%=é")))
def test_nothing_that_could_end_a_literal_gets_into_a_query(text: str) -> None:
    """A value stands between quotes as it is, or is refused."""
    try:
        quoted = quote(text)
    except UnusableValueError:
        assert set(text) & set("'\\\"\n\x00")
    else:
        assert quoted == f"'{text}'"
        assert not set(text) & set("'\\")


ODD = [
    datetime(9999, 12, 31, 23, 59, 59, tzinfo=timezone(-timedelta(hours=14))),
    datetime.min.replace(tzinfo=UTC),
]
ODD.append(datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=14))))


@pytest.mark.parametrize("at", ODD)
def test_no_time_is_too_odd_to_be_shown(at: datetime) -> None:
    """One agent that was told to wake at the end of all dates broke the list, its page and its mails."""
    request = ApprovalRequest(
        id="ask-1",
        question="?",
        plan={},
        digest="d" * 64,
        policy=ApprovalPolicy(approvers=("ann",), reminders=(timedelta(days=1),)),
        requester="me",
        asked_at=at,
        expires_at=at,
        escalate_at=at,
        remind_at=(at,),
    )
    entry = NotebookEntry(at=at, node="n", text="t")
    shown = view(wake_at=at, started_at=at, closed_at=at, notebook=[entry], requests=[request])
    assert show_lines(shown)
    assert row_cells(shown)
    assert print_document(shown) is None
    assert pages.moment(at)
    assert pages.instant(at)
    notice = Notice(
        id="a-1/r/1",
        agent="a-1",
        kind="buyer",
        owner="me",
        event=NoticeEvent.ASKED,
        text="t",
        request=request,
    )
    assert slack_blocks.asked(notice, request, plan_parts.ShownPlan(), "", "")
    delivery = Delivery(notice=notice, way="email", address="a@example.com", person="ann")
    assert notice_words(delivery, "https://x.test", Signer(KeyRing.of({"k": b"1" * 32})), NOW)


@pytest.mark.parametrize("at", ["9999-12-31T23:59:59-14:00", "+10000-01-01T13:59:59Z", "soon", {}, 10**30])
def test_an_odd_search_attribute_costs_one_cell_and_not_the_list(at: object) -> None:
    """Whoever may write attributes may write anything."""
    info = WorkflowExecutionInfo()
    info.start_time.FromDatetime(NOW)
    info.search_attributes.indexed_fields["AgentWakeAt"].data = json.dumps(at).encode()
    row = row_of_info(info)
    assert row_cells(row)


def test_a_process_that_ended_is_said_with_what_began_it_and_where(tmp_path: Path) -> None:
    """What went wrong long before is none of it, and a line without a traceback is said as it is."""
    log = tmp_path / "worker.log"
    log.write_text(
        "ValueError: of long ago\n"
        "Traceback (most recent call last):\n"
        f'  File "{ROOT}/workflows/tidy.py", line 7, in <module>\n'
        "lib.RestrictedError: no chance\n\n"
        "The above exception was the direct cause of the following exception:\n\n"
        "Traceback (most recent call last):\n"
        f'  File "{ROOT}/.venv/lib/worker.py", line 9, in y\n'
        "RuntimeError: Failed validating workflow tidy\n"
    )
    assert why(log) == "RestrictedError: no chance (workflows/tidy.py:7)"
    with log.open("a") as more:
        more.write("HIBERNAUT_MODEL: set a key\n")
    assert why(log) == "HIBERNAUT_MODEL: set a key"


def test_a_worker_that_cannot_run_a_kind_is_heard_among_others(tmp_path: Path) -> None:
    """The old worker writes to the same log, and its own agents' errors are no reason."""
    log = tmp_path / "worker.log"
    log.write_text(f"{NOT_STARTED}the kind buyer: of long ago\n")
    begins = len(log.read_text())
    with log.open("a") as more:
        more.write(f"{NOT_STARTED}the kind tidy: run lacks its input\n")
        more.write("Traceback (most recent call last):\nKeyError: 'another agent'\n")
    assert why(log, begins) == "the kind tidy: run lacks its input"
