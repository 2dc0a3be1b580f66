"""The program that looks for secrets: `secrets_program.py FOLDER FILE…`, a process of its own.

Prints a JSON list of [path, kind, line]; never the secret, nor its hash. The library's own command line is
not used: it starts a process per core, prints hashes, and skips files that are not UTF-8.
"""

from __future__ import annotations

import functools
import json
import os
import sys
from typing import cast

from detect_secrets.core import scan
from detect_secrets.plugins.base import BasePlugin, RegexBasedDetector
from detect_secrets.settings import default_settings, get_plugins
from detect_secrets.transformers import get_transformed_file
from detect_secrets.types import NamedIO

# The library opens files as strict UTF-8 and skips others; a latin-1 file may hold a secret too.
_open = functools.partial(open, encoding="utf-8", errors="replace")
vars(scan)["open"] = _open


def main(folder: str, *paths: str) -> None:
    """Scan `paths`, relative to `folder`: the library filters by path and must not see the folder's own."""
    os.chdir(folder)
    found = set()
    with default_settings() as settings:
        settings.disable_plugins("IPPublicDetector")  # an address is no secret
        plugins = list(get_plugins())
        for path in paths:
            lines = _lines(path)
            settings.plugins = {}
            settings.configure_plugins([one.json() for one in plugins if _may_find(one, lines)])
            found |= {(path, secret.type, secret.line_number) for secret in scan.scan_file(path)}
    json.dump(sorted(found), sys.stdout)


def _lines(path: str) -> list[str]:
    """All lines that the library may look at: the file's own, and those of its transformations."""
    with _open(path) as file:
        lines = file.readlines()
        for eager in (False, True):
            file.seek(0)
            lines += get_transformed_file(cast(NamedIO, file), use_eager_transformers=eager) or []
    return [line.rstrip() for line in lines]


def _may_find(plugin: BasePlugin, lines: list[str]) -> bool:
    """Whether to run `plugin` at all: the library's path from line to pattern costs ten times the match."""
    if not isinstance(plugin, RegexBasedDetector):
        return True
    return any(pattern.search(line) for pattern in plugin.denylist for line in lines)


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except Exception as error:
        sys.exit(type(error).__name__)  # its text may quote the line it failed on
