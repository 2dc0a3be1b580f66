"""What git would ignore, found without running git and without reading a repository's configuration.

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

from activities.safe_files import LeftOut, in_bounds, read_inside
from common.errors import flaw_of

log = logging.getLogger(__name__)

_MAX_RULES_BYTES = 1_000_000
_MAX_INDEX_BYTES = 256_000_000
# Patterns become regular expressions, and one with many stars takes name-length-to-the-power-of-stars steps
# (while nothing else in this process runs). A pattern that may take more is ignored: the file is audited.
_MAX_STEPS = 3_000_000


@dataclass(frozen=True)
class IgnoreRules:
    """The rules that apply in one folder of a checkout.

    `top` is the checkout's folder; `folder` the one the rules apply to, relative to `top`, empty or ending in
    `/`; `tracked` holds the index's files, and their folders ending in `/`; `levels` holds the patterns,
    outermost first, each with the folder that it is relative to.
    """

    top: Path
    tracked: frozenset[bytes]
    levels: tuple[tuple[bytes, tuple[Pattern, ...]], ...]
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
        for base, patterns in reversed(self.levels):
            for pattern in reversed(patterns):
                if _matches(pattern, path[len(base) :], is_folder):
                    return pattern.is_exclude
        return False


def find_rules(root: Path) -> IgnoreRules | None:
    """The rules at `root`, which is, or is inside, a checkout; None if it is not.

    None too if git ignores `root` itself: whoever asks for such a folder wants to see what is in it.
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
    )


def _matches(pattern: Pattern, path: bytes, is_folder: bool) -> bool:
    written = bytes(pattern)
    # Without a slash inside, a pattern looks at the name alone.
    name = path if b"/" in written.rstrip(b"/") else path[path.rfind(b"/") + 1 :]
    stars = len(re.findall(rb"\*+", written))
    if stars > 2 and math.comb(len(name), min(stars, len(name) // 2)) > _MAX_STEPS:
        return False
    return pattern.matches(name, is_folder)


def _folder_patterns(top: Path, folder: bytes) -> tuple[Pattern, ...]:
    try:
        return _patterns(read_inside(top, os.fsdecode(folder) + ".gitignore", _MAX_RULES_BYTES))
    except LeftOut:
        return ()


def _patterns(data: bytes) -> tuple[Pattern, ...]:
    return tuple(IgnoreFilter(read_ignore_patterns(io.BytesIO(data))).patterns)


def _tracked(index: Path) -> frozenset[bytes]:
    data = _read(index, _MAX_INDEX_BYTES)
    if not data:
        return frozenset()
    # Git writes no object format into the index; its trailing checksum reveals it.
    form = SHA256 if hashlib.sha256(data[:-32]).digest() == data[-32:] else SHA1
    tracked: set[bytes] = set()
    try:
        for entry in read_index(io.BytesIO(data), form):
            tracked.add(entry.name)
            folder = entry.name.rpartition(b"/")[0]
            while folder and folder + b"/" not in tracked:
                tracked.add(folder + b"/")
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
