"""The code auditor through its real activities on real files."""

from __future__ import annotations

import json
import shutil
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from temporalio.client import WorkflowFailureError, WorkflowHandle

import worker
from common.agents.auditor import AuditInput
from common.approval.types import ApprovalRequest, Verdict
from tests.support.stage import OWNER, Stage
from workflows.code_auditor import CodeAuditor

SHOP = Path(__file__).parents[1] / "samples" / "shop"


class AuditStage:
    """A stage with the auditor's real activities and a copy of the sample shop."""

    def __init__(self, stage: Stage, folder: Path) -> None:
        self.stage = stage
        self.shop = folder
        shutil.copytree(SHOP, folder)

    async def start(self, **fields: Any) -> WorkflowHandle[Any, Any]:
        input = AuditInput.model_validate({"path": str(self.shop), "apply": True, **fields})
        return await self.stage.start(input, kind="code-auditor")

    async def asked(self, agent: WorkflowHandle[Any, Any], after: str = "") -> ApprovalRequest:
        return await self.stage.asked(agent, after)

    def texts(self) -> dict[str, bytes]:
        return {
            str(each.relative_to(self.shop)): each.read_bytes()
            for each in self.shop.rglob("*")
            if each.is_file()
        }


@pytest.fixture
async def audit(stage: Stage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AuditStage:
    await stage.rest()
    stage.agents = [CodeAuditor]
    monkeypatch.setattr(stage, "objects", lambda: worker.activity_objects(stage.settings))
    await stage.work()
    return AuditStage(stage, tmp_path / "shop")


async def test_an_approved_audit_fixes_reports_and_can_be_undone(audit: AuditStage) -> None:
    """Fixes on disk, SARIF, JSON, HTML, the diff, and a patch that takes all of it back."""
    before = audit.texts()
    agent = await audit.start()
    request = await audit.asked(agent)
    assert audit.texts() == before
    assert request.question == f"Apply 10 fixes in 3 files of {audit.shop}?"
    await audit.stage.decide(agent, request, by=OWNER)
    result = await agent.result()
    assert (result["files_fixed"], result["files_left"], result["fixes_planned"]) == (3, 0, 10)
    after = audit.texts()
    changed = {path for path in before if before[path] != after[path]}
    assert changed == {"shop/cache.py", "shop/mail.py", "shop/orders.py"}
    assert b"OrderedDict" not in after["shop/orders.py"]
    assert set(result["report"]) == {"sarif", "json", "html", "diff", "undo"}
    report = json.loads(Path(result["report"]["json"]).read_text())
    analysers = {finding["analyser"] for file in report["findings"] for finding in file["findings"]}
    assert analysers == {"ruff", "detect-secrets", "shellcheck", "hadolint", "oxlint", "zizmor"}
    if shutil.which("git"):
        undo = ["git", "apply", "--unsafe-paths", f"--directory={audit.shop}", result["report"]["undo"]]
        subprocess.run(undo, check=True, cwd="/")
        assert audit.texts() == before


async def test_without_apply_nothing_is_asked_and_nothing_touched(audit: AuditStage) -> None:
    """An audit alone reports."""
    before = audit.texts()
    result = await (await audit.start(apply=False)).result()
    assert result["decision"] == "none asked"
    assert result["findings"] > 30
    assert audit.texts() == before


async def test_a_rejected_plan_touches_nothing_and_is_reported(audit: AuditStage) -> None:
    """A no ends it; the report says who said no."""
    before = audit.texts()
    agent = await audit.start()
    await audit.stage.decide(agent, await audit.asked(agent), Verdict.REJECT, by=OWNER, note="not now")
    result = await agent.result()
    assert "rejected by owner-1 (through cli): not now" in result["decision"]
    assert (result["files_fixed"], result["files_left"]) == (0, 3)
    assert audit.texts() == before


async def test_files_left_out_by_revise_stay_as_they_are(audit: AuditStage) -> None:
    """`--edit skip=…`: the rest is fixed, and is not asked about again."""
    before = audit.texts()
    agent = await audit.start()
    request = await audit.asked(agent)
    await audit.stage.decide(agent, request, Verdict.REVISE, by=OWNER, edits={"skip": "shop/mail.py"})
    result = await agent.result()
    assert result["files_fixed"] == 2
    after = audit.texts()
    assert after["shop/mail.py"] == before["shop/mail.py"]
    assert after["shop/cache.py"] != before["shop/cache.py"]


async def test_a_misspelt_path_to_leave_out_is_asked_about_again_and_nothing_is_written(
    audit: AuditStage,
) -> None:
    """What the approver meant to leave out must not be written because of a letter."""
    before = audit.texts()
    agent = await audit.start()
    first = await audit.asked(agent)
    await audit.stage.decide(agent, first, Verdict.REVISE, by=OWNER, edits={"skip": "shop/mial.py"})
    second = await audit.asked(agent, after=first.id)
    assert "not as it was approved: shop/mial.py" in second.evidence
    assert audit.texts() == before
    await audit.stage.decide(agent, second, Verdict.REJECT, by=OWNER)
    await agent.result()


async def test_a_file_changed_after_the_approval_is_untouched_and_asked_about_again(
    audit: AuditStage,
) -> None:
    """The word was for other content: nothing is written on it, and the new question says what changed."""
    agent = await audit.start()
    first = await audit.asked(agent)
    theirs = b"import os\n\n\ndef mine():\n    return f'new'\n"
    (audit.shop / "shop/mail.py").write_bytes(theirs)
    before = audit.texts()
    await audit.stage.decide(agent, first, by=OWNER)
    second = await audit.asked(agent, after=first.id)
    assert audit.texts() == before
    assert second.digest != first.digest
    assert "not as it was approved: shop/mail.py" in second.evidence
    late = await audit.stage.decide(agent, first, by=OWNER)
    assert "void" in (await audit.stage.fate(agent, late.id)).reason
    await audit.stage.decide(agent, second, by=OWNER)
    result = await agent.result()
    assert result["files_fixed"] == 3
    assert (audit.shop / "shop/mail.py").read_bytes() == b"\n\ndef mine():\n    return 'new'\n"


async def test_a_file_that_cannot_be_written_is_left_with_its_reason_and_not_asked_about_for_ever(
    audit: AuditStage,
) -> None:
    """Asking again mends no file system."""
    agent = await audit.start()
    request = await audit.asked(agent)
    locked = audit.shop / "shop" / "mail.py"
    data = locked.read_bytes()
    locked.unlink()
    # A link in its place is never followed; the name outside must stay as it was.
    outside = audit.shop.parent / "outside.py"
    outside.write_bytes(data)
    locked.symlink_to(outside)
    await audit.stage.decide(agent, request, by=OWNER)
    second = await audit.asked(agent, after=request.id)
    await audit.stage.decide(agent, second, by=OWNER)
    result = await agent.result()
    assert result["files_fixed"] == 2
    assert outside.read_bytes() == data


async def test_a_forged_signal_writes_nothing(audit: AuditStage) -> None:
    """A decision that no door signed is refused; the agent goes on waiting."""
    before = audit.texts()
    agent = await audit.start()
    request = await audit.asked(agent)
    forged = audit.stage.decision(request, by=OWNER)
    await agent.signal("decide", forged)
    assert (await audit.stage.fate(agent, forged.id)).reason == "unsigned"
    await agent.signal("decide", audit.stage.signer.sign(forged, "another-agent", datetime.now(UTC)))
    assert (await audit.stage.status(agent)).state == "awaiting_approval"
    assert audit.texts() == before
    await audit.stage.decide(agent, request, Verdict.REJECT, by=OWNER)
    await agent.result()


async def test_named_approvers_decide_and_the_owner_may_not(audit: AuditStage) -> None:
    """Whoever names approvers wants other eyes."""
    agent = await audit.start(approvers="ann,bob")
    request = await audit.asked(agent)
    own = await audit.stage.decide(agent, request, by=OWNER)
    assert "not among those" in (await audit.stage.fate(agent, own.id)).reason
    await audit.stage.decide(agent, request, by="bob")
    assert "approved by bob" in (await agent.result())["decision"]


async def test_an_approval_that_expires_leaves_the_files_alone(audit: AuditStage) -> None:
    """Given up after a day: reported, nothing written."""
    before = audit.texts()
    input = AuditInput(path=str(audit.shop), apply=True, expires_after=timedelta(days=1))
    agent = await audit.stage.start(input, kind="code-auditor")
    await audit.asked(agent)
    await audit.stage.skipper.fast_forward(agent, timedelta(days=1, minutes=1))
    result = await agent.result()
    assert result["decision"] == "approval-1: expired"
    assert audit.texts() == before


async def test_what_the_agent_was_told_reaches_the_analyst_that_ranks(audit: AuditStage) -> None:
    """Words told before the triage are in its request."""
    await audit.stage.rest()
    agent = await audit.start(apply=False)
    await agent.signal("tell", "shell quoting")
    await audit.stage.work()
    await agent.result()
    requests = [
        json.loads(payload.data)
        async for event in agent.fetch_history_events()
        for payload in event.activity_task_scheduled_event_attributes.input.payloads
        if event.activity_task_scheduled_event_attributes.activity_type.name == "triage"
    ]
    assert [request["wishes"] for request in requests] == [["shell quoting"]]


@pytest.mark.parametrize(
    ("make", "kind"),
    [("missing", "PathMissing"), ("file", "NotAFolder")],
)
async def test_a_path_that_is_no_folder_fails_with_one_clear_line(
    audit: AuditStage, make: str, kind: str
) -> None:
    """Never a stuck workflow."""
    target = audit.shop.parent / "target"
    if make == "file":
        target.write_text("x")
    agent = await audit.start(path=str(target))
    with pytest.raises(WorkflowFailureError) as failure:
        await agent.result()
    assert str(target) in str(failure.value.cause.cause)  # type: ignore[union-attr]
    assert (await audit.stage.attributes(agent))["AgentFailure"] == kind


async def test_an_empty_folder_is_an_audit_of_nothing(audit: AuditStage) -> None:
    """No files, no findings, a report that says so."""
    empty = audit.shop.parent / "empty"
    empty.mkdir()
    result = await (await audit.start(path=str(empty))).result()
    assert (result["files"], result["findings"]) == (0, 0)
    assert Path(result["report"]["html"]).exists()


async def test_odd_things_in_the_tree_become_lines_in_the_report(audit: AuditStage) -> None:
    """Names that are not UTF-8, a loop of links, a 200 MB file, a file that nobody may read."""
    import os

    folder = os.fsencode(audit.shop)
    with open(folder + b"/caf\xe9.py", "wb") as file:
        file.write(b"x = 1\n")
    (audit.shop / "loop").symlink_to(audit.shop)
    with open(audit.shop / "big.txt", "wb") as file:
        file.truncate(200 * 2**20)
    os.mkfifo(audit.shop / "pipe")
    result = await (await audit.start(apply=False)).result()
    assert result["skipped"] == {"link": 1, "name": 1, "oversized": 1, "special": 1}
    report = json.loads(Path(result["report"]["json"]).read_text())
    assert {each["path"]: each["reason"] for each in report["left_out"]}["big.txt"] == "oversized"


async def test_what_does_not_hold_without_a_file_left_out_is_not_applied(audit: AuditStage) -> None:
    """The fixes were proven all together; the rest is proven by itself, and asked about again."""
    for name in ("a.py", "b.py", "c.py"):
        (audit.shop / name).write_text("import os\n\nX = 1\n")
    both = "test $(grep -l '^import os' a.py b.py | wc -l) -ne 1"
    agent = await audit.start(verify=both, include=["/*.py"])
    first = await audit.asked(agent)
    assert first.plan["files"] == 3
    await audit.stage.decide(agent, first, Verdict.REVISE, by=OWNER, edits={"skip": ["b.py"]})
    again = await audit.asked(agent, after=first.id)
    assert [each["path"] for each in again.plan["preview"]] == ["c.py"]
    assert "does not hold without what was left out: a.py" in again.evidence
    await audit.stage.decide(agent, again, by=OWNER)
    await agent.result()
    left = [name for name in ("a.py", "b.py", "c.py") if "import os" in (audit.shop / name).read_text()]
    assert left == ["a.py", "b.py"]


async def test_an_agent_uses_what_its_owner_may_whoever_started_it_how(audit: AuditStage) -> None:
    """The activity asks Temporal whose the agent is, so that a start past every entry point gains nothing."""
    roots = audit.stage.settings.data_dir / "roots.json"
    roots.write_text(json.dumps({"owner-2": [str(audit.shop.parent)]}))
    agent = await audit.start(apply=False)
    with pytest.raises(WorkflowFailureError) as failed:
        await agent.result()
    cause = failed.value.cause.__cause__
    assert getattr(cause, "type", "") == "PathRefused"
    assert f"agents of {OWNER} may use" in str(cause)
    roots.write_text(json.dumps({OWNER: [str(audit.shop.parent)]}))
    # The data folder lies in that root, and stays closed.
    done = await (await audit.start(apply=False, path=str(audit.shop.parent))).result()
    report = json.loads(Path(done["report"]["json"]).read_text())
    assert {each["path"].split("/")[0] for each in report["files"]} == {"shop"}
    assert {"path": "data/", "reason": "private"} in report["left_out"]


async def test_a_second_audit_scans_what_changed_and_tells_what_is_new(audit: AuditStage) -> None:
    """What the first one found is kept and accepted; only the file that changed is scanned again."""
    first = await (await audit.start(apply=False)).result()
    flawed = audit.shop / "shop" / "flawed.py"
    flawed.write_text("import subprocess\n\n\ndef run(name):\n    subprocess.call(name, shell=True)\n")
    # What an audited project says about the analysers changes nothing that is found.
    (audit.shop / "ruff.toml").write_text("[lint]\nignore = ['ALL']\n")
    baseline = audit.shop.parent / "baseline.sarif"
    shutil.copyfile(first["report"]["sarif"], baseline)
    agent = await audit.start(apply=False, baseline=str(baseline))
    second = await agent.result()
    scans = [
        json.loads(payload.data)
        async for event in agent.fetch_history_events()
        for payload in event.activity_task_scheduled_event_attributes.input.payloads
        if event.activity_task_scheduled_event_attributes.activity_type.name == "scan_shard"
    ]
    assert [each["last"] for each in scans] == [2]
    assert second["accepted"] == first["findings"]
    assert second["absent"] == 0
    report = json.loads(Path(second["report"]["json"]).read_text())
    before = json.loads(Path(first["report"]["json"]).read_text())
    fresh = {"shop/flawed.py", "ruff.toml"}
    assert [each for each in report["findings"] if each["path"] not in fresh] == before["findings"]
    assert second["findings"] - second["accepted"] == sum(
        len(each["findings"]) for each in report["findings"] if each["path"] in fresh
    )
    assert report["summary"]["top"]
    assert all("flawed.py" in line for line in report["summary"]["top"])


async def test_a_baseline_that_cannot_be_read_fails_at_once_with_one_clear_line(audit: AuditStage) -> None:
    """Before anything is scanned, and without a word of what is in the file."""
    baseline = audit.shop.parent / "baseline.sarif"
    baseline.write_text('{"very": "private"}')
    agent = await audit.start(apply=False, baseline=str(baseline))
    with pytest.raises(WorkflowFailureError) as failure:
        await agent.result()
    cause = failure.value.cause.cause  # type: ignore[union-attr]
    assert str(baseline) in str(cause)
    assert "private" not in str(cause)
    assert (await audit.stage.attributes(agent))["AgentFailure"] == "BaselineUnreadable"
