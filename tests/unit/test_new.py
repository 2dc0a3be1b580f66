"""`starter.py new` writes all of an agent or nothing, and refuses what would stand in the way of another."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from cli.new import new as writing
from cli.new.new import FILES, KIND_FILE, KINDS_FILE, new
from cli.output import CommandError


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkout, as far as `new` looks at it."""
    for name in (*FILES, KIND_FILE, KINDS_FILE, "pyproject.toml", "activities/safe_files.py"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(writing.ROOT / name, tmp_path / name)
    (tmp_path / "workflows" / "core").mkdir(parents=True)
    monkeypatch.setattr(writing, "ROOT", tmp_path)
    return tmp_path


def contents(folder: Path) -> dict[str, str]:
    files = (each for each in folder.rglob("*") if each.is_file())
    return {str(each.relative_to(folder)): each.read_text() for each in files}


def test_it_says_what_it_wrote_and_what_to_run(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The template's name is gone from every file, and the kind stands among the others."""
    before = contents(root)
    new("invoice-payer", as_json=False)
    written = {name: text for name, text in contents(root).items() if before.get(name) != text}
    assert set(written) == {
        "common/agents/invoice_payer.py",
        "activities/invoice_payer.py",
        "workflows/invoice_payer.py",
        "tests/agents/test_invoice_payer.py",
        KINDS_FILE,
    }
    said = capsys.readouterr().out
    assert all(name in said for name in written)
    assert "start invoice-payer --set path=FOLDER" in said
    assert not any("template" in text.lower() for text in written.values())
    assert (
        '@workflow.defn(name="invoice-payer")\nclass InvoicePayerAgent('
        in written["workflows/invoice_payer.py"]
    )
    assert '@activity.defn(name="invoice_payer_delete")' in written["activities/invoice_payer.py"]
    added = [line for line in written[KINDS_FILE].splitlines() if line not in before[KINDS_FILE].splitlines()]
    assert added[0] == "from common.agents.invoice_payer import InvoicePayerInput"
    assert '            "workflows.invoice_payer:InvoicePayerAgent",' in added


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("Tidy", "is no name for a kind"),
        ("a--b", "is no name for a kind"),
        ("../a", "is no name for a kind"),
        ("é", "is no name for a kind"),
        ("x" * 41, "is no name for a kind"),
        ("class", "a keyword of Python"),
        ("buyer", "the name buyer is taken"),
        ("eraser", "the name eraser is taken"),
        ("safe-files", "activities/safe_files.py is there already"),
        ("core", "workflows/core is there already"),
    ],
)
def test_a_name_that_is_none_or_taken_is_refused(root: Path, name: str, words: str) -> None:
    """Nothing is overwritten and nothing written."""
    before = contents(root)
    with pytest.raises(CommandError, match=words):
        new(name, as_json=False)
    assert contents(root) == before


def test_nothing_is_half_written(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the last file cannot be written the others go; where KINDS is another, nobody guesses."""
    before = contents(root)
    write = writing.write_atomically

    def full(path: Path, *arguments: object, **options: object) -> None:
        if path.name == "kinds.py":
            raise OSError(28, "No space left on device", str(path))
        write(path, *arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(writing, "write_atomically", full)
    with pytest.raises(CommandError, match="No space left on device"):
        new("tidy", as_json=False)
    assert contents(root) == before
    (root / KINDS_FILE).write_text("KINDS = {}\n")
    with pytest.raises(CommandError, match="has no KINDS as it came"):
        new("tidy", as_json=False)
    assert not (root / "workflows" / "tidy.py").exists()
    (root / KIND_FILE).unlink()
    with pytest.raises(CommandError, match="is no checkout"):
        new("tidy", as_json=False)
