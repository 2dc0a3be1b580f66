"""A project's own per-file ignores, from its settings for ruff and flake8.

Nothing else in these settings counts, no plugin is loaded, and `extend` is followed only within the project.
"""

from __future__ import annotations

import configparser
import posixpath
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

_RUFF = ("pyproject.toml", "ruff.toml", ".ruff.toml")
_FLAKE8 = ("setup.cfg", "tox.ini", ".flake8")
_MAX_BYTES = 1_000_000
_KEYS = ("per-file-ignores", "extend-per-file-ignores")


def per_file_ignores(root: Path, files: Iterable[str], rules: Iterable[str]) -> dict[str, list[str]]:
    """Which of `rules` the project ignores, by file pattern in ruff's syntax.

    Args:
        root: the project's folder, with copies of its files.
        files: the paths of its files.
        rules: exact names of rules.
    """
    found: dict[str, list[str]] = {}
    for path in files:
        folder, _, name = path.rpartition("/")
        pairs: Iterator[tuple[str, str]] = iter(())
        if name in _RUFF:
            pairs = _of_ruff(root, path, seen=set())
        elif name in _FLAKE8:
            pairs = _of_flake8(root / path)
        for pattern, code in pairs:
            if ignored := [rule for rule in rules if code == "ALL" or rule.startswith(code)]:
                for each in _placed(pattern, root / folder):
                    found[each] = sorted({*found.get(each, ()), *ignored})
    return found


def _placed(pattern: str, folder: Path) -> Iterator[str]:
    """A folder's pattern as patterns for absolute paths; a mere name also matches in folders below."""
    negated, bare = ("!", pattern[1:]) if pattern.startswith("!") else ("", pattern)
    escaped = re.sub(r"([*?\[\]{}])", r"[\1]", str(folder))
    yield f"{negated}{escaped}/{bare.removeprefix('./')}"
    if "/" not in bare:
        yield f"{negated}{escaped}/**/{bare}"


def _of_ruff(root: Path, path: str, seen: set[str]) -> Iterator[tuple[str, str]]:
    if path in seen or not (content := _toml(root / path)):
        return
    seen.add(path)
    if path.rpartition("/")[2] == "pyproject.toml":
        content = _table(_table(content, "tool"), "ruff")
    for table in (content, _table(content, "lint")):
        for key in _KEYS:
            for pattern, codes in _table(table, key).items():
                yield from ((pattern, code) for code in _strings(codes))
    extended = content.get("extend")
    if isinstance(extended, str):
        inside = posixpath.normpath(posixpath.join(posixpath.dirname(path), extended))
        if not inside.startswith(("/", "..")):
            yield from _of_ruff(root, inside, seen)


def _of_flake8(file: Path) -> Iterator[tuple[str, str]]:
    parser = configparser.RawConfigParser()
    try:
        parser.read_string(_text(file))
        lines = parser.get("flake8", "per-file-ignores", fallback="").replace("\n", " ")
    except (configparser.Error, ValueError):
        return
    # `a.py: F401, E501 b.py,c.py:F4`: names with a dot, a slash or a star are files, the others are codes.
    files: list[str] = []
    begins = True
    for word in re.split(r"[\s,:]+", lines.strip()):
        is_code = re.fullmatch(r"[A-Z]{1,4}\d{0,4}", word) is not None
        if is_code:
            yield from ((each, word) for each in files)
        else:
            files = [word] if begins else [*files, word]
        begins = is_code


def _strings(value: object) -> list[str]:
    return [each for each in value if isinstance(each, str) and each] if isinstance(value, list) else []


def _table(content: Mapping[str, Any], key: str) -> dict[str, Any]:
    value = content.get(key)
    return value if isinstance(value, dict) else {}


def _toml(file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(_text(file))
    except (ValueError, RecursionError):
        return {}


def _text(file: Path) -> str:
    try:
        with file.open("rb") as opened:
            return opened.read(_MAX_BYTES).decode("utf-8", "replace")
    except OSError:
        return ""
