"""The scan of a slice: what it records, and that a kill costs one batch."""

from __future__ import annotations

import dataclasses
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from temporalio.exceptions import ApplicationError, CancelledError

from activities.auditor.records import (
    FileEntry,
    FileFindings,
    ScanRequest,
    ShardFindings,
    put_records,
)
from activities.auditor.scan import shard as scan_module
from activities.auditor.scan.analysers import ANALYSERS
from common.agents.agent import Progress
from common.digest import digest_bytes
from tests.support.auditor.scan_bench import ScanBench


def copies() -> list[Path]:
    """What is left of the copies that analysers read."""
    return list(Path(tempfile.gettempdir()).glob("hibernaut-scratch-*"))


@pytest.fixture(autouse=True)
def own_temporary_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No other test's copies are in it."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path.with_name(f"{tmp_path.name}-tmp")))
    Path(tempfile.gettempdir()).mkdir()


@pytest.fixture
def bench(tmp_path: Path) -> ScanBench:
    return ScanBench(tmp_path)


def test_one_line_per_file(bench: ScanBench) -> None:
    """Every file of the slice has its line, in listing order, with the digest of what was scanned."""
    bench.write({"a.py": "import os\n", "b.txt": "", "c.sh": "#!/bin/sh\necho $1\n", "d.py": "x = 1\n"})
    result = bench.run(bench.request(first=0, last=3))
    records = bench.records(result.findings)
    assert [(record.path, len(record.findings)) for record in records] == [
        ("a.py", 1),
        ("b.txt", 0),
        ("c.sh", 1),
    ]
    assert records[0].sha256 == digest_bytes(b"import os\n")
    assert (result.files, result.by_severity, result.failures) == (3, {"low": 2}, 0)
    assert bench.beats[-1] == Progress(done=3, total=3)
    assert not copies()


def test_empty_slice(bench: ScanBench) -> None:
    """A slice of nothing is scanned at once."""
    assert bench.run(bench.request()).files == 0


def test_changed_and_gone_files(bench: ScanBench, tmp_path: Path) -> None:
    """A changed file is scanned as it is; one that is gone, a link now, or behind one has no digest."""
    bench.write(
        {"changed.py": "x = 1\n", "gone.py": "import os\n", "link.py": "x = 1\n", "d/x.py": "x = 1\n"}
    )
    bench.write({"pipe.py": "x = 1\n"})
    request = bench.request()
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "x.py").write_text("import os\n")
    bench.write({"changed.py": "import os\n"})
    (bench.root / "gone.py").unlink()
    (bench.root / "link.py").unlink()
    (bench.root / "link.py").symlink_to(outside / "x.py")
    (bench.root / "d" / "x.py").unlink()
    (bench.root / "d").rmdir()
    (bench.root / "d").symlink_to(outside)
    (bench.root / "pipe.py").unlink()
    os.mkfifo(bench.root / "pipe.py")
    records = {record.path: record for record in bench.records(bench.run(request).findings)}
    assert records["changed.py"].sha256 == digest_bytes(b"import os\n")
    assert [finding.rule for finding in records["changed.py"].findings] == ["F401"]
    for path in ("gone.py", "link.py", "d/x.py", "pipe.py"):
        assert (records[path].sha256, records[path].findings) == ("", [])


def test_listing_that_leads_outside(bench: ScanBench) -> None:
    """An entry that names a path outside the root is not read and nothing is written for it."""
    bench.write({"a.py": "import os\n"})
    entries = [FileEntry(path="../escape.py", sha256="", size=1, language="python")]
    (bench.root.parent / "escape.py").write_text("import os\n")
    listing = put_records(bench.store, entries)
    result = bench.run(ScanRequest(root=str(bench.root), listing=listing, first=0, last=1))
    assert bench.records(result.findings) == [FileFindings(path="../escape.py", sha256="")]


def test_root_gone(bench: ScanBench) -> None:
    """A root that went away is a permanent error, not a tree of vanished files."""
    bench.write({"a.py": ""})
    request = bench.request()
    bench.root.rename(bench.root.with_name("moved"))
    with pytest.raises(ApplicationError) as caught:
        bench.run(request)
    assert (caught.value.type, caught.value.non_retryable) == ("PathMissing", True)


def test_done_is_done(bench: ScanBench, monkeypatch: pytest.MonkeyPatch) -> None:
    """A retry of a finished scan answers from the journal and analyses nothing."""
    bench.write({f"{n}.py": "import os\n" for n in range(3)})
    request = bench.request()
    first = bench.run(request)
    monkeypatch.setattr(scan_module, "analyse", None)
    assert bench.run(request, attempt=2) == first
    assert bench.attempts() == [{"attempt": 1, "resumed_at": 0}, {"attempt": 2, "resumed_at": 3}]


@pytest.mark.parametrize(("attempt", "batches"), [(1, 1), (2, 2), (3, 3), (8, 8), (50, 8)])
def test_each_further_attempt_risks_less(
    attempt: int, batches: int, bench: ScanBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A scan that is killed again and again gets on, and finds the same."""
    monkeypatch.setattr(scan_module, "BATCH_FILES", 24)
    bench.write({f"{n:02}.py": "import os\n" for n in range(24)})
    request = bench.request()
    undisturbed = bench.run(request, workflow_id="undisturbed")
    bench.scan.clear_journals("undisturbed")
    result = bench.run(request, attempt=attempt)
    assert bench.records(result.findings) == bench.records(undisturbed.findings)
    assert len(bench.journal()) == batches


@pytest.mark.parametrize(
    "tail", [b'{"path":"2.py","sha', b"\0" * 100, b"\xff\n", b'{"path":"no","sha256":""}\n']
)
def test_torn_tail(bench: ScanBench, tail: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """A batch that is not what was written is scanned again, and what follows it with it."""
    monkeypatch.setattr(scan_module, "BATCH_FILES", 1)
    bench.write({f"{n}.py": "import os\n" for n in range(4)})
    request = bench.request()
    undisturbed = bench.run(request)
    first, second, _, _ = bench.journal()
    bench.objects.put(second, bench.objects.get(second) + tail)
    bench.objects.put(f"{first}1", b"no batch begins here")
    assert bench.run(request, attempt=2) == undisturbed
    assert len(bench.journal()) == 4
    assert bench.attempts()[-1] == {"attempt": 2, "resumed_at": 1}


def test_agents_have_their_own_journals(bench: ScanBench) -> None:
    """Ids of any shape make keys; another run starts afresh; clearing takes one agent's only."""
    bench.write({"a.py": ""})
    request = bench.request()
    bench.run(request, workflow_id="../../x/\u00e9" * 50, activity_id="../scan/1/abc")
    bench.run(request, workflow_id="two")
    bench.run(request, workflow_id="two", workflow_run_id="another")
    assert len(bench.journal()) == 3
    bench.scan.clear_journals("two")
    bench.scan.clear_journals("two")
    assert len(bench.journal()) == 1
    assert sorted(path.name for path in bench.root.parent.iterdir()) == ["artifacts", "code", "journals"]


# It stands still before its last batch, so that whoever kills it finds it at work.
SCRIPT = """
import sys
import time
from pathlib import Path
from activities.auditor.records import ScanRequest
from activities.auditor.scan import shard
from activities.auditor.scan.shard import CodeScan
from common.artifacts import ArtifactStore
from common.object_store import FolderStore
from temporalio.testing import ActivityEnvironment
analyse, left = shard.analyse, iter(range(2))
shard.analyse = lambda *arguments: time.sleep(600) if next(left, None) is None else analyse(*arguments)
folder = Path(sys.argv[1])
scan = CodeScan(ArtifactStore(FolderStore(folder / "artifacts")), FolderStore(folder / "journals"))
ActivityEnvironment().run(scan.scan_shard, ScanRequest.model_validate_json(sys.argv[2]))
"""


def test_kill_and_resume(bench: ScanBench, tmp_path: Path) -> None:
    """Killed with SIGKILL midway, a scan goes on at its last batch and gives the very same bytes."""
    bench.write({f"{n:03}.py": f"import os\nx{n} = undefined\n" for n in range(250)})
    request = bench.request()
    undisturbed = bench.run(request, workflow_id="undisturbed")
    bench.scan.clear_journals("undisturbed")
    killed = subprocess.Popen(
        [sys.executable, "-c", SCRIPT, str(tmp_path), request.model_dump_json()],
        cwd=Path(__file__).parents[2],
    )
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        if bench.journal():
            break
        time.sleep(0.01)
    killed.send_signal(signal.SIGKILL)
    assert killed.wait() == -signal.SIGKILL
    written = sum(bench.objects.get(key).count(b"\n") for key in bench.journal())
    assert 100 <= written < 250
    result = bench.run(request, attempt=2)
    assert bench.records(result.findings) == bench.records(undisturbed.findings)
    assert result.model_copy(update={"findings": undisturbed.findings}) == undisturbed
    assert bench.attempts() == [{"attempt": 1, "resumed_at": 0}, {"attempt": 2, "resumed_at": written}]


def test_heartbeats_and_cancellation_in_a_long_batch(
    bench: ScanBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Heartbeats go on while an analyser takes its time; a cancellation ends it, leaving no copy."""
    hanging = [sys.executable, "-c", "import time; time.sleep(600)"]
    real = scan_module.analyse
    analyser = dataclasses.replace(ANALYSERS[0], call=lambda folder, paths: hanging)
    monkeypatch.setattr(scan_module, "analyse", lambda *arguments: real(*arguments, analysers=[analyser]))
    bench.write({"a.py": "x = 1\n"})
    request = bench.request()
    environment = bench.environment()
    raised: list[BaseException] = []

    def target() -> None:
        try:
            environment.run(bench.scan.scan_shard, request)
        except BaseException as error:
            raised.append(error)

    thread = threading.Thread(target=target)
    thread.start()
    deadline = time.monotonic() + 120
    while len(bench.beats) < 4 and time.monotonic() < deadline:
        time.sleep(0.05)
    assert len(bench.beats) >= 4
    environment.cancel()
    thread.join(120)
    assert isinstance(raised[0], CancelledError)
    assert not copies()


def test_two_attempts_at_once(bench: ScanBench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of two that scan the same batch, whoever is later takes what the first has found."""
    bench.write({"a.py": "import os\n"})
    request = bench.request()
    real, results = scan_module.analyse, list[ShardFindings]()

    def overtaken(*arguments: Any) -> Any:
        monkeypatch.setattr(scan_module, "analyse", real)
        found = real(*arguments)
        bench.write({"a.py": "x = 1\n"})
        results.append(bench.run(request, attempt=2))
        return found

    monkeypatch.setattr(scan_module, "analyse", overtaken)
    results.append(bench.run(request))
    assert results[0] == results[1]
    assert bench.records(results[0].findings)[0].sha256 == digest_bytes(b"x = 1\n")
    assert [each["attempt"] for each in bench.attempts()] == [1, 2]


def test_what_is_found_in_a_file_does_not_depend_on_what_is_scanned_with_it(bench: ScanBench) -> None:
    """A package's modules and a script's library are the same findings in a batch and by themselves."""
    bench.write(
        {
            "pkg/__init__.py": "",
            "pkg/sub/__init__.py": "from pkg import x\nimport pkg.sub\n",
            "run.sh": "#!/bin/bash\n# shellcheck source-path=SCRIPTDIR\nsource lib.sh\necho $WHAT\n",
            "lib.sh": "#!/bin/bash\nexport WHAT=1\n",
        }
    )
    request = bench.request()
    together = bench.records(bench.run(request).findings)
    alone = [
        record
        for n in range(4)
        for record in bench.records(
            bench.run(request.model_copy(update={"first": n, "last": n + 1}), activity_id=str(n)).findings
        )
    ]
    assert alone == together
    found = {finding.rule: finding.message for record in together for finding in record.findings}
    assert "redundant alias" in found["F401"]
    assert "SC1091" in found
