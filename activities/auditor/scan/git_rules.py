"""What git would ignore, found without running git or reading a repository's configuration.

A hostile repository's configuration can name programs to run and files to read; only the index, the
`.gitignore` files and `info/exclude` count here. Tracked files are never ignored.
"""

from __future__ import annotations

import hashlib
import io
import logging
import math
import os
import re
import stat
from dataclasses import dataclass, replace
from pathlib import Path

from dulwich.ignore import IgnoreFilter, Pattern, read_ignore_patterns
from dulwich.index import read_index
from dulwich.object_format import SHA1, SHA256
from dulwich.repo import read_gitfile

from activities.safe_files import PathSkippedError, in_bounds, read_inside
from common.flaws import flaw_of

log = logging.getLogger(__name__)

_MAX_RULES_BYTES = 1_000_000
_MAX_INDEX_BYTES = 256_000_000
_MAX_ENTRIES = 1_000_000
_MAX_NAME_BYTES = 4096
# All tracked names and their folders together.
_MAX_TRACKED_BYTES = 256_000_000
# A file with more patterns is skipped. The comparisons of patterns with names are limited in total.
MAX_PATTERNS = 10_000
MAX_MATCHES = 50_000_000
# Patterns become regular expressions. One with many stars backtracks for up to length-to-the-power-of-stars
# steps, and blocks the process. A pattern that may take more than this is ignored: the file is audited.
_MAX_STEPS = 3_000_000


class TooManyRulesError(Exception):
    """The rules of a checkout would take too long to apply; the message says what to do."""


@dataclass(frozen=True)
class Rule:
    """A line of a `.gitignore` file.

    `by_name`: it has no inner slash, so it matches names, not paths; `stars`: how many runs of stars it has.
    """

    pattern: Pattern
    by_name: bool
    stars: int

    @classmethod
    def of(cls, pattern: Pattern) -> Rule:
        """Make the rule for a pattern."""
        written = bytes(pattern)
        return cls(pattern, b"/" not in written.rstrip(b"/"), len(re.findall(rb"\*+", written)))

    def matches(self, path: bytes, is_folder: bool) -> bool:
        """Whether it matches the entry `path`, relative to the rule's folder."""
        name = path[path.rfind(b"/") + 1 :] if self.by_name else path
        if self.stars > 2 and math.comb(len(name), min(self.stars, len(name) // 2)) > _MAX_STEPS:
            return False
        return self.pattern.matches(name, is_folder)


@dataclass
class Budget:
    """How many more comparisons of a name with a pattern are allowed."""

    left: int = MAX_MATCHES

    def spend(self, matches: int) -> None:
        """Count `matches`.

        Raises:
            TooManyRulesError: fewer were left.
        """
        self.left -= matches
        if self.left < 0:
            raise TooManyRulesError(
                f"its .gitignore files ask for over {MAX_MATCHES:,} comparisons: give a folder with fewer "
                "files, or shorten them"
            )


@dataclass(frozen=True)
class IgnoreRules:
    """The rules that apply in one folder of a checkout.

    `top` is the checkout's folder; `folder` the one the rules apply to, relative to `top`, empty or ending in
    `/`; `tracked` holds the index's files, and their folders ending in `/`; `levels` holds the patterns,
    outermost first, each with the folder that it is relative to; the whole checkout shares one `budget`.
    """

    top: Path
    tracked: frozenset[bytes]
    levels: tuple[tuple[bytes, tuple[Rule, ...]], ...]
    budget: Budget
    folder: bytes = b""
    in_ignored_folder: bool = False

    def ignores(self, name: str, is_folder: bool) -> bool:
        """Whether git ignores the entry `name` of this folder; never a tracked file or a folder of one."""
        path = self.folder + os.fsencode(name)
        if path in self.tracked or path + b"/" in self.tracked:
            return False
        return self.in_ignored_folder or self._excluded(path, is_folder)

    def enter(self, name: str) -> IgnoreRules:
        """The rules in the sub-folder `name`."""
        path = self.folder + os.fsencode(name)
        return replace(
            self,
            folder=path + b"/",
            levels=(*self.levels, (path + b"/", _folder_patterns(self.top, path + b"/"))),
            in_ignored_folder=self.in_ignored_folder or self._excluded(path, True),
        )

    def _excluded(self, path: bytes, is_folder: bool) -> bool:
        # The innermost file decides, and in it the last line that matches.
        for base, rules in reversed(self.levels):
            self.budget.spend(len(rules))
            for rule in reversed(rules):
                if rule.matches(path[len(base) :], is_folder):
                    return bool(rule.pattern.is_exclude)
        return False


def find_rules(root: Path) -> IgnoreRules | None:
    """The rules at `root`, which is, or is inside, a checkout; None if it is not.

    Also None if git ignores `root` itself: whoever asks for such a folder wants to see what is in it.
    """
    for top in (root, *root.parents):
        rules = open_checkout(top)
        if rules:
            for name in root.relative_to(top).parts:
                rules = rules.enter(name)
            return None if rules.in_ignored_folder else rules
    return None


def open_checkout(top: Path) -> IgnoreRules | None:
    """The rules at the top of the checkout `top` (clone, linked worktree or submodule), if it is one."""
    git = top / ".git"
    try:
        if not git.is_dir():
            git = top / read_gitfile(io.BytesIO(_read(git, _MAX_RULES_BYTES)))
        common = git / os.fsdecode(_read(git / "commondir", _MAX_RULES_BYTES) or b".").strip()
        # A `.git` file may name any folder.
        if not in_bounds(git) or not in_bounds(common):
            return None
        if not ((git / "HEAD").is_file() and (common / "objects").is_dir()):
            return None
    except (OSError, ValueError):
        return None
    excluded = _patterns(_read(common / "info" / "exclude", _MAX_RULES_BYTES))
    return IgnoreRules(
        top=top,
        tracked=_tracked(git / "index"),
        levels=((b"", excluded), (b"", _folder_patterns(top, b""))),
        budget=Budget(),
    )


def _folder_patterns(top: Path, folder: bytes) -> tuple[Rule, ...]:
    try:
        return _patterns(read_inside(top, os.fsdecode(folder) + ".gitignore", _MAX_RULES_BYTES))
    except PathSkippedError:
        return ()


def _patterns(data: bytes) -> tuple[Rule, ...]:
    written = list(read_ignore_patterns(io.BytesIO(data)))
    if len(written) > MAX_PATTERNS:
        log.warning("passed over %d patterns of git in one file: %d count", len(written), MAX_PATTERNS)
        return ()
    return tuple(map(Rule.of, IgnoreFilter(written).patterns))


def _tracked(index: Path) -> frozenset[bytes]:
    data = _read(index, _MAX_INDEX_BYTES)
    if not data:
        return frozenset()
    # Git writes no object format into the index; its trailing checksum reveals it.
    form = SHA256 if hashlib.sha256(data[:-32]).digest() == data[-32:] else SHA1
    tracked: set[bytes] = set()
    size = 0
    try:
        for entry in read_index(io.BytesIO(data), form):
            name = entry.name
            size += len(name)
            if len(name) > _MAX_NAME_BYTES or len(tracked) > _MAX_ENTRIES or size > _MAX_TRACKED_BYTES:
                raise ValueError("it names more than a checkout holds")
            tracked.add(name)
            folder = name.rpartition(b"/")[0]
            while folder and folder + b"/" not in tracked:
                tracked.add(folder + b"/")
                size += len(folder)
                folder = folder.rpartition(b"/")[0]
    except Exception as error:  # untrusted bytes: a damaged index may raise anything
        said = "cannot read the git index %s (%s): what it tracks may count as ignored"
        log.warning(said, index, flaw_of(error))
    return frozenset(tracked)


def _read(path: Path, limit: int) -> bytes:
    """The bytes of a regular file; empty if there is none or it is over `limit`."""
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            return b""
        with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK), "rb") as file:
            data = file.read(limit + 1)
    except OSError:
        return b""
    return data if len(data) <= limit else b""
