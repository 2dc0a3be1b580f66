"""What the words of a command line become."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import cast

import pytest

from cli.inputs import fields_of, kind_named, read_edits, read_input
from cli.output import CommandError
from common.agents.auditor import AuditInput

AUDITOR = kind_named("code-auditor")


def read(*words: str, source: str | None = None) -> AuditInput:
    return cast(AuditInput, read_input(AUDITOR, source, words))


def test_values_are_json_where_that_fits_and_text_elsewhere() -> None:
    """`--set` takes what a person would write for each type."""
    found = read(
        "path=/a=b",
        "apply=true",
        'include=["x","y"]',
        "exclude=a, b",
        "expires_after=P2D",
        "max_file_bytes=7",
    )
    assert found.path == "/a=b"
    assert found.apply is True
    assert found.include == ["x", "y"]
    assert found.exclude == ["a", "b"]
    assert found.expires_after == timedelta(days=2)
    assert found.max_file_bytes == 7


def test_a_number_is_text_where_the_field_is_text() -> None:
    """A folder may be called 2024, and a yes may be written yes."""
    found = read("path=2024", "apply=yes")
    assert Path(found.path).name == "2024"
    assert found.apply is True


@pytest.mark.parametrize("folder", ["some/folder", ".", "~"])
def test_paths_are_absolute_from_where_the_user_stands(
    folder: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker has a working folder of its own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/home/somebody")
    expected = "/home/somebody" if folder == "~" else str((tmp_path / folder).absolute())
    assert read(f"path={folder}").path == expected
    file = tmp_path / "input.json"
    file.write_text(json.dumps({"path": folder}))
    assert read(source=str(file)).path == expected


def test_a_path_in_a_file_is_from_that_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever reads it from where; a word beside it is from where the user stands."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "jobs").mkdir()
    (tmp_path / "jobs" / "input.json").write_text('{"path": "../shop", "baseline": "old.sarif"}')
    found = read("baseline=new.sarif", source="jobs/input.json")
    assert found.path == str(tmp_path / "jobs" / ".." / "shop")
    assert found.baseline == str(tmp_path / "new.sarif")


def test_words_override_the_file(tmp_path: Path) -> None:
    """`--input` is the base, `--set` the change."""
    file = tmp_path / "input.json"
    file.write_text('{"path": "/a", "apply": true}')
    assert read("path=/b", source=str(file)) == AuditInput(path="/b", apply=True)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["path=x", "max_file_bytes=many"], ["max_file_bytes", "a whole number"]),
        (["path=x", "expires_after=soon"], ["expires_after", "a duration"]),
        (["path=x", "depth=3"], ["'depth'", "its fields: path, apply"]),
        (["path"], ["'path'", "name=value"]),
        (["apply=true"], ["needs path", "--set path="]),
        (["path=x", "carried={}"], ["'carried'"]),
    ],
)
def test_what_does_not_fit_is_named_with_what_would(words: list[str], said: list[str]) -> None:
    """One line: the field, and what it takes; what belongs to the kit cannot be set."""
    with pytest.raises(CommandError) as error:
        read(*words)
    assert "\n" not in str(error.value)
    assert all(part in str(error.value) for part in said), error.value


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("{", "not JSON"),
        ("[1]", "one JSON object"),
        ('{"path": "x", "carried": {}}', "'carried'"),
        ('{"path": 3}', "path: Input should be a valid string"),
        ("[" * 100_000, "not JSON"),
    ],
)
def test_a_bad_input_file_is_one_clear_line(tmp_path: Path, content: str, said: str) -> None:
    """Nothing of pydantic's or json's own layout reaches the user."""
    file = tmp_path / "input.json"
    file.write_text(content)
    with pytest.raises(CommandError) as error:
        read(source=str(file))
    assert said in str(error.value)
    assert "\n" not in str(error.value)


def test_an_unknown_kind_names_the_kinds() -> None:
    """A typing mistake is answered with what there is."""
    with pytest.raises(CommandError, match="code-auditor"):
        kind_named("code-audit")


def test_every_field_a_user_can_set_is_listed_with_type_and_default() -> None:
    """`agents` tells the whole truth and nothing of the kit's own."""
    fields = {field.name: field for field in fields_of(AUDITOR)}
    assert "carried" not in fields
    assert fields["path"].required
    assert fields["max_file_bytes"].default == 1_000_000
    assert fields["include"].default == []
    assert all(field.description for field in fields.values())


def test_edits_are_json_or_text() -> None:
    """`--edit` takes lists as JSON, and text without quotes."""
    assert read_edits(['skip=["a"]', "note=hello world"]) == {"skip": ["a"], "note": "hello world"}


def test_a_target_is_an_address_as_it_stands_or_a_path_made_absolute() -> None:
    """A worker has a working folder of its own; an address is left alone."""
    for word in ("https://reports.test/inbox/", "HTTP://reports.test/"):
        given = read_input(kind_named("link-researcher"), None, ["topic=tides", f"publish={word}"])
        assert given.model_dump()["publish"] == word
    given = read_input(kind_named("link-researcher"), None, ["topic=tides", "publish=out", "sites=docs.test"])
    assert given.model_dump()["publish"] == str(Path("out").absolute())
    assert given.model_dump()["sites"] == ["https://docs.test"]
