"""The contract auditor's report and listing: hostile words stay words, alike findings are one group."""

from __future__ import annotations

import csv
import io
import re
import zipfile
from pathlib import Path

import pytest
from temporalio.exceptions import ApplicationError
from temporalio.testing import ActivityEnvironment

from activities.contracts.activities import Contracts
from activities.contracts.listing import key_of, list_contracts
from activities.contracts.records import (
    AuditRequest,
    CheckRequest,
    ContractsReportRequest,
    GroupRequest,
    Opened,
    OpenRequest,
)
from activities.contracts.report.tables import harmless
from activities.contracts.report.write import ContractReports
from activities.documents import plain
from activities.documents.structure import StructuredDocument
from common.agent_files import AgentFiles
from common.agents.batch import MAX_KEY, BatchItem, ItemResult, Verdict, as_lines
from common.agents.contracts import ContractsReport
from common.artifacts import ArtifactRef, ArtifactStore
from common.object_store import FolderStore

HOSTILE = "=cmd|' /C calc'!A0"


class Desk:
    """The activities on a folder, without Temporal and with documents read in this process."""

    def __init__(self, tmp_path: Path) -> None:
        self.folder = tmp_path / "contracts"
        self.folder.mkdir()
        self.store = ArtifactStore(FolderStore(tmp_path / "artifacts"))
        self.contracts = Contracts(
            self.store,
            "offline",
            lambda auditor, name, digest, data, media_type, heartbeat: auditor.audit(
                name, digest, StructuredDocument.model_validate(plain.read(data))
            ),
        )
        self.reports = ContractReports(
            self.store, AgentFiles(FolderStore(tmp_path / "objects")), tmp_path / "reports"
        )
        self.environment = ActivityEnvironment()

    def open(self) -> Opened:
        return self.environment.run(self.contracts.open_contracts, OpenRequest(folder=str(self.folder)))

    def results(self, opened: Opened) -> ArtifactRef:
        items = [BatchItem.model_validate_json(line) for line in self.store.get(opened.listing).splitlines()]
        return self.store.put(as_lines(map(self._result, items)))

    def _result(self, item: BatchItem) -> ItemResult:
        try:
            audited = self.environment.run(
                self.contracts.audit_contract, AuditRequest.model_validate(item.argument)
            )
        except ApplicationError as error:
            return ItemResult(key=item.key, verdict=Verdict.QUARANTINED, reason=str(error))
        return ItemResult(key=item.key, verdict=Verdict.DONE, result=audited.model_dump(mode="json"))

    def report(self, opened: Opened, results: ArtifactRef) -> ContractsReport:
        request = ContractsReportRequest(
            folder=str(self.folder), playbook=opened.playbook, results=(results,), items=opened.items
        )
        return self.environment.run(self.reports.write_contracts_report, request)


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


@pytest.mark.parametrize("cell", [HOSTILE, "+1", "-1", "@x", "\t=1", " =1", "\u00a0=1", "\n=1", "%x", "|x"])
def test_no_cell_begins_as_a_formula_does(cell: str) -> None:
    """Also behind what a spreadsheet would trim."""
    assert str(harmless(cell)).startswith("'") or str(harmless(cell)).strip()[:1] not in "=+-@|%"
    assert harmless("Neither party") == "Neither party"


def test_hostile_words_of_a_contract_are_shown_and_run_nowhere(desk: Desk) -> None:
    """In the page they are escaped, in the tables they are text."""
    (desk.folder / "=1+1.txt").write_text(
        f"{HOSTILE} <script>alert(1)</script>\n\n"
        f"Governing law. {HOSTILE} <script>alert(1)</script> \u202e is "
        "governed by the laws of Bermuda.\n"
    )
    opened = desk.open()
    report = desk.report(opened, desk.results(opened))
    page = Path(report.files["html"]).read_text()
    assert page.count("<script") == 1
    assert "&lt;script&gt;alert(1)" in page
    assert "\u202e" not in page
    assert "default-src &#39;none&#39;" in page or "default-src 'none'" in page
    cells = [
        cell
        for row in csv.reader(io.StringIO(Path(report.files["csv"]).read_text("utf-8-sig")))
        for cell in row
    ]
    assert "'=1+1.txt" in cells
    assert not [cell for cell in cells if cell[:1] in ("=", "+", "-", "@", "\t")]
    with zipfile.ZipFile(report.files["xlsx"]) as book:
        sheets = "".join(book.read(name).decode() for name in book.namelist() if "sheets/" in name)
        texts = re.sub(r"<t[^>]*/?>|</t>", "\n", sheets)
    assert "<f>" not in sheets, "no formula"
    assert "<hyperlink" not in sheets
    assert not [line for line in texts.splitlines() if line.startswith(("=", "+", "@"))]


def test_the_same_results_give_the_same_bytes(desk: Desk) -> None:
    """A retried activity changes nothing."""
    (desk.folder / "a.txt").write_text("Governing law. This is governed by the laws of Bermuda.\n")
    opened = desk.open()
    results = desk.results(opened)
    first = {kind: Path(file).read_bytes() for kind, file in desk.report(opened, results).files.items()}
    assert {
        kind: Path(file).read_bytes() for kind, file in desk.report(opened, results).files.items()
    } == first


def test_alike_findings_are_one_group_that_binds_every_contract(desk: Desk) -> None:
    """Low ones are in none; the listing has names and digests."""
    for name in "abc":
        (desk.folder / f"{name}.txt").write_text(
            f"Governing law. {name} is governed by the laws of Bermuda.\n"
        )
    results = desk.results(desk.open())
    grouped = desk.environment.run(desk.contracts.group_findings, GroupRequest(results=(results,)))
    groups = {each.key: each for each in grouped.groups}
    assert groups["governing_law.allowed"].named == ("a.txt", "b.txt", "c.txt")
    assert len(desk.store.get(groups["governing_law.allowed"].listing).splitlines()) == 3
    assert not {each for each in groups.values() if each.severity == "low"}


def test_what_changed_and_what_is_gone_is_seen(desk: Desk) -> None:
    """By the bytes that were read."""
    for name in "abc":
        (desk.folder / f"{name}.txt").write_text("Term. It is two years.\n")
    opened = desk.open()
    results = desk.results(opened)
    (desk.folder / "a.txt").write_text("Term. It is three years.\n")
    (desk.folder / "b.txt").unlink()
    request = CheckRequest(folder=str(desk.folder), results=(results,), playbook=opened.playbook)
    checked = desk.environment.run(desk.contracts.check_contracts, request)
    assert (checked.changed, checked.vanished) == (1, 1)
    assert BatchItem.model_validate_json(desk.store.get(checked.listing)).key == "a.txt"
    assert desk.store.get(checked.gone) == b"b.txt"


def test_a_listing_names_everything_once(tmp_path: Path) -> None:
    """Hidden files apart; links and deep folders are left out and said; long paths have keys of their own."""
    deep = tmp_path.joinpath(*["d"] * 25)
    deep.mkdir(parents=True)
    (deep / "a.txt").write_text("x")
    long = tmp_path / ("n" * 120)
    long.mkdir()
    for name in ("a.txt", "b.pdf", ".hidden.txt", "c.xls"):
        (long / name).write_text("x")
    (tmp_path / "l.txt").symlink_to(long / "a.txt")
    listing = list_contracts(tmp_path, lambda count: None)
    assert listing.names == [f"{long.name}/a.txt", f"{long.name}/b.pdf"]
    assert listing.other == 1
    assert listing.left_out["l.txt"] == "a link"
    assert "deeper than 20 folders" in listing.left_out.values()
    keys = {key_of(name) for name in listing.names}
    assert len(keys) == 2
    assert all(len(key) <= MAX_KEY for key in keys)
