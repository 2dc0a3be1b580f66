"""Which language a file is in, by its path and its first line."""

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
    """The language of a file, `text` where it is none that an analyser knows; `head` is how it begins."""
    if _WORKFLOW.search(path):
        return "github-workflow"
    name = path.rpartition("/")[2]
    suffix = name[name.rfind(".") :].lower() if "." in name else ""
    if _DOCKERFILE.search(path) and suffix not in _BY_SUFFIX:
        return "dockerfile"
    language = _BY_SUFFIX.get(suffix, "")
    shebang = _SHEBANG.match(head)
    # A first line has the last word on scripts: a `.sh` that asks for zsh is nothing a shell analyser reads.
    if shebang and language in ("", "shell"):
        language = _BY_PROGRAM.get(shebang[1].decode(), "")
    return language or "text"
