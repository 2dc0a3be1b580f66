"""Tells a file's language from its path and its first line."""

from __future__ import annotations

import re

_BY_SUFFIX = {
    ".py": "python",
    ".pyi": "python",
    ".pyw": "python",
    ".sh": "shell",
    ".bash": "shell",
    ".ksh": "shell",
    ".dash": "shell",
    ".js": "javascript",
    ".jsx": "javascript",
    ".mjs": "javascript",
    ".cjs": "javascript",
    ".ts": "typescript",
    ".tsx": "typescript",
    ".mts": "typescript",
    ".cts": "typescript",
}
_BY_PROGRAM = {
    "python": "python",
    "pypy": "python",
    "sh": "shell",
    "ash": "shell",
    "bash": "shell",
    "dash": "shell",
    "ksh": "shell",
}
_WORKFLOW = re.compile(r"(^|/)\.github/(workflows/[^/]+|actions/(.+/)?action)\.ya?ml$")
_DOCKERFILE = re.compile(
    r"(^|/)((Docker|Container)file(\..+)?|[^/]*\.(docker|container)file)$", re.IGNORECASE
)
_SHEBANG = re.compile(rb"#!\s*(?:/\S*/env\s+(?:-\S+\s+)*)?(?:/\S*/)?([a-z]+)")


def language_of(path: str, head: bytes) -> str:
    """The language of a file, `text` if no analyser handles it; `head` is the beginning of its content."""
    if _WORKFLOW.search(path):
        return "github-workflow"
    name = path.rpartition("/")[2]
    suffix = name[name.rfind(".") :].lower() if "." in name else ""
    if _DOCKERFILE.search(path) and suffix not in _BY_SUFFIX:
        return "dockerfile"
    language = _BY_SUFFIX.get(suffix, "")
    shebang = _SHEBANG.match(head)
    # The first line decides for scripts: a `.sh` that asks for zsh is not for a shell analyser.
    if shebang and language in ("", "shell"):
        language = _BY_PROGRAM.get(shebang[1].decode(), "")
    return language or "text"
