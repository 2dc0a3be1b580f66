"""The page of an audit: it shows everything, hides secrets, and runs nothing foreign."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from activities.auditor.records import AppliedFix
from tests.support.auditor.report_world import SECRET, Audit, finding, small_audit, with_fixes

if TYPE_CHECKING:
    from playwright.sync_api import Page

CHROMIUM = Path("/usr/bin/chromium")


@pytest.fixture
def audit(tmp_path: Path) -> Audit:
    return small_audit(tmp_path)


def test_no_report_holds_a_secret(audit: Audit) -> None:
    """A secret's line is masked in the page, again where it repeats and in diffs, and is nowhere else."""
    key = "-----BEGIN RSA PRIVATE KEY-----\nMIIEpAIBAAKCAQEA\n-----END RSA PRIVATE KEY-----\n"
    secret = {"severity": "high", "analyser": "detect-secrets"}
    audit.add("key.pem", key, finding("private-key", line=1, **secret), finding("X", line=2))
    code = f'import os\npassword = "{SECRET}"\nagain = "{SECRET}"\ny = 1\n'
    audit.add(
        "s.py",
        code,
        finding("secret-keyword", line=2, **secret),
        finding("E1", line=3),
        finding("E2", line=4),
        finding(fixable=True),
    )
    audit.fixes = {"s.py": code.replace("import os\n", "").replace('password = "', "password='")}
    audit.applied = [AppliedFix(path="s.py", outcome="written")]
    written = audit.write()
    for name in ("sarif", "json", "html"):
        text = written[name].read_text()
        assert SECRET not in text
        assert "MIIEpAIBAAKCAQEA" not in text
        # What stands beside a secret may be one that nobody found.
        assert "nobody-found-this" not in text
    page = written["html"].read_text()
    assert "<code>y = 1</code>" in page
    assert page.count("hidden: a secret is here") >= 6


def test_the_page_escapes_what_it_shows(audit: Audit) -> None:
    """Names, messages, source lines and odd characters of others appear as text."""
    audit.add("bidi.py", "x = '\u202e\x1b[2J'\n", finding(message="\u2066\x00"))
    page = audit.write()["html"].read_text()
    assert "<code>import &lt;b&gt;</code>" in page
    assert page.count("<script") == 1
    assert "<img" not in page
    assert "javascript:" not in page
    assert not {"\u202e", "\x1b", "\u2066", "\x00"} & set(page)
    assert "\\u202e\\x1b[2J" in page


def test_source_is_shown_only_while_it_is_what_was_scanned(audit: Audit, tmp_path: Path) -> None:
    """A file that changed, went, or became a link or a pipe since the scan shows no line."""
    for path in ("changed.py", "gone.py", "link.py", "pipe.py", "same.py"):
        audit.add(path, f"original {path}\n", finding())
    request = audit.request()
    (audit.root / "changed.py").write_text("new words\n")
    for path in ("gone.py", "link.py", "pipe.py"):
        (audit.root / path).unlink()
    (tmp_path / "outside").write_text("original link.py\n")
    (audit.root / "link.py").symlink_to(tmp_path / "outside")
    os.mkfifo(audit.root / "pipe.py")
    page = audit.write(request)["html"].read_text()
    assert page.count("no longer what was scanned") == 4
    assert "new words" not in page
    assert "original link.py" not in page
    assert "original same.py" in page


def test_the_page_tells_what_was_fixed_and_what_was_not(audit: Audit) -> None:
    """Each planned file with its outcome and reason, the decision, the diff; fixed findings say so."""
    request = with_fixes(audit).request()
    plan = request.plans[0].model_copy(update={"proof": ("2 modules can be imported <still>.",)})
    page = audit.write(request.model_copy(update={"plans": [plan]}))["html"].read_text()
    assert "2 files planned: 1 written, 1 left." in page
    assert "2 modules can be imported &lt;still&gt;." in page
    assert "changed since the plan" in page
    assert "approved by ann through cli: fine" in page
    assert 'class="line removed"><span class="no">1</span><span class="mark">-</span><code>import os' in page
    # The file is another one now; its findings are shown on the bytes they were found in.
    assert "As it was before the fixes." in page
    assert page.count("> fixed</span>") == 1
    assert "ranked by: offline analyst (no language model)" in page


def test_an_approvers_exception_is_named(audit: Audit) -> None:
    """A file left out on the approver's word says so, even where nothing tells what became of it."""
    audit = with_fixes(audit)
    audit.applied = audit.applied[:1]
    audit.skip = ["src/b.py"]
    assert "left out on the approver&#39;s word" in audit.write()["html"].read_text()


def test_a_giant_audit_makes_a_page_of_bounded_size(audit: Audit, monkeypatch: pytest.MonkeyPatch) -> None:
    """Past the cap the worst are shown, and a line says how many more there are and where."""
    monkeypatch.setattr("activities.auditor.report.write.CAP", 20)
    audit.add("many.py", "x\n" * 99, *(finding("MANY", line=n) for n in range(1, 80)))
    audit.add("z.py", "x\n", finding("WORST", "high"))
    written = audit.write()
    page = written["html"].read_text()
    total = sum(len(found) for found in audit.found.values())
    assert page.count('class="finding ') == 20
    assert (
        f"{total - 20} more findings, none graver than these, are in report.json and the SARIF files." in page
    )
    assert 'data-path="z.py"' in page
    assert written["sarif"].read_text().count('"partialFingerprints"') == total - 1


@pytest.fixture(scope="module")
def browser_page() -> Iterator[Page]:
    if not CHROMIUM.exists():
        pytest.skip(f"needs a browser: {CHROMIUM} (Debian package chromium)")
    arguments = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"]
    arguments += ["--disable-component-update", "--disable-sync"]
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=str(CHROMIUM), args=arguments)
        yield browser.new_page()
        browser.close()


def test_the_page_works_in_a_browser(audit: Audit, browser_page: Page) -> None:
    """No error, no request to anywhere, nothing of others runs, and the filter filters."""
    troubles: list[str] = []
    page = browser_page
    page.on("console", lambda message: troubles.append(message.text))
    page.on("pageerror", lambda error: troubles.append(str(error)))
    page.on("dialog", lambda dialog: troubles.append(dialog.message))
    requests: list[str] = []
    page.on("request", lambda request: requests.append(request.url))
    page.goto(with_fixes(audit).write()["html"].as_uri())
    assert page.title() == "Audit of code"
    shown = page.locator("#shown")
    assert shown.inner_text() == "6 of 6 shown"
    page.fill("#words", "SRC/a.py f401")
    page.get_by_text("1 of 6 shown").wait_for()
    assert page.locator(".finding:visible").count() == 1
    page.press("#words", "Escape")
    page.get_by_text("6 of 6 shown").wait_for()
    page.click("a.tile.high")
    page.get_by_text("2 of 6 shown").wait_for()
    page.fill("#words", "no such words")
    page.locator("#none").wait_for(state="visible")
    assert page.title() == "Audit of code"
    assert troubles == []
    assert [url for url in requests if not url.startswith(("file:", "data:"))] == []
    page.set_viewport_size({"width": 360, "height": 700})
    page.wait_for_function("innerWidth === 360")
    assert page.evaluate("document.documentElement.scrollWidth") == 360
