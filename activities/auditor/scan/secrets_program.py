"""The program that looks for secrets: `secrets_program.py FOLDER FILE…`, run as a separate process.

Prints a JSON list of [path, kind, line]; never the secret, nor its hash. The library's own command line is
not used: it starts a process per core, prints hashes, and skips files that are not UTF-8.

The library only gets lines in which a plugin may find something: its overhead per line is many times the cost
of the patterns.
"""

from __future__ import annotations

import functools
import json
import os
import re
import sys
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from itertools import accumulate
from types import ModuleType
from typing import Any

if __name__ == "__main__":
    # Replaces the HTTP client: the library would use it to try out secrets, and importing it is slow.
    stand_in = ModuleType("requests")
    vars(stand_in).update(Response=object, exceptions=ModuleType("requests.exceptions"))
    vars(stand_in.exceptions)["RequestException"] = OSError
    sys.modules.update({"requests": stand_in, "requests.exceptions": stand_in.exceptions})

from detect_secrets.core import scan
from detect_secrets.plugins.base import BasePlugin, RegexBasedDetector
from detect_secrets.plugins.high_entropy_strings import HighEntropyStringsPlugin
from detect_secrets.plugins.keyword import DENYLIST, KeywordDetector
from detect_secrets.settings import default_settings, get_plugins
from detect_secrets.util.code_snippet import get_code_snippet

# The library opens files as strict UTF-8 and skips others; a latin-1 file may hold a secret too.
vars(scan)["open"] = functools.partial(open, encoding="utf-8", errors="replace")

# Every pattern of the keyword plugin requires one of these words.
_KEYWORDS = re.compile("|".join(DENYLIST), re.IGNORECASE)


def main(folder: str, *paths: str) -> None:
    """Scan `paths`, relative to `folder`: the library filters by path and must not see the folder's own."""
    os.chdir(folder)
    found = set()
    with default_settings() as settings:
        settings.disable_plugins("IPPublicDetector")  # an address is no secret
        prefilters = [PluginPrefilter(plugin) for plugin in get_plugins()]
        vars(scan)["_process_line_based_plugins"] = functools.partial(_secrets_in, prefilters)
        for path in paths:
            found |= {(path, secret.type, secret.line_number) for secret in scan.scan_file(path)}
    json.dump(sorted(found), sys.stdout)


class PluginPrefilter:
    """One of the library's plugins, and a quick search for the lines in which it may find something."""

    def __init__(self, plugin: BasePlugin) -> None:
        self.plugin = plugin
        self._by_line: list[re.Pattern[str]] = []
        self._by_text: list[re.Pattern[str]] = []
        if isinstance(plugin, RegexBasedDetector):
            self._by_line = list(plugin.denylist)
            # Matches wherever the pattern for single lines does, and sometimes across lines.
            self._by_text = [re.compile(each.pattern, each.flags | re.MULTILINE) for each in self._by_line]

    def lines(self, text: str, lines: Sequence[str], starts: Sequence[int]) -> set[int]:
        """The indexes of those `lines`; `text` is all of them joined, `starts` where in it each begins."""
        if isinstance(self.plugin, KeywordDetector):
            places = [match.start() for match in _KEYWORDS.finditer(text)]
        elif isinstance(self.plugin, HighEntropyStringsPlugin):
            # A string needs more characters than this to exceed the entropy limit.
            shortest = 2**self.plugin.entropy_limit
            places = [m.start() for m in self.plugin.regex.finditer(text) if len(m[2]) > shortest]
        elif not self._by_line:
            return set(range(len(lines)))
        else:
            patterns = [
                exact for exact, rough in zip(self._by_line, self._by_text, strict=True) if rough.search(text)
            ]
            return (
                {
                    index
                    for index, line in enumerate(lines)
                    if any(pattern.search(line) for pattern in patterns)
                }
                if patterns
                else set()
            )
        return {bisect_right(starts, place) - 1 for place in places}


def _secrets_in(
    prefilters: Sequence[PluginPrefilter], lines: list[tuple[int, str]], filename: str
) -> Iterator[Any]:
    """The secrets in numbered lines; replaces the library's `_process_line_based_plugins`."""
    content = [line for _, line in lines]
    stripped = [line.rstrip() for line in content]
    text = "\n".join(stripped)
    starts = list(accumulate((len(line) + 1 for line in stripped), initial=0))
    promising: dict[int, list[BasePlugin]] = {}
    for prefilter in prefilters:
        for index in prefilter.lines(text, stripped, starts):
            promising.setdefault(index, []).append(prefilter.plugin)
    for index, plugins in sorted(promising.items()):
        number = lines[index][0]
        place: dict[str, Any] = {
            "filename": filename,
            "line": stripped[index],
            "context": get_code_snippet(lines=content, line_number=number),
        }
        if scan._is_filtered_out(required_filter_parameters=["line"], **place):
            continue
        for plugin in plugins:
            for secret in scan._scan_line(plugin=plugin, line_number=number, **place):
                value = {"secret": secret.secret_value, "plugin": plugin}
                if not scan._is_filtered_out(required_filter_parameters=["context"], **place, **value):
                    yield secret


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except Exception as error:
        sys.exit(type(error).__name__)  # its text may quote the line it failed on
