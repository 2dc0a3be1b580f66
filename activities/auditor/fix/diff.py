"""Unified diffs of bytes that `patch -p1` and `git apply` accept, in time linear in the file's length."""

from __future__ import annotations

import io
import os
import re
from collections.abc import Sequence
from difflib import Match, SequenceMatcher
from typing import NamedTuple

CONTEXT = 3
WINDOW = 400  # lines matched at a time; the more, the slower


class FileDiff(NamedTuple):
    """The diff of one file, and how many lines it adds and removes."""

    text: bytes
    lines_added: int
    lines_removed: int


def diff_file(path: str, before: bytes, after: bytes) -> FileDiff:
    """The unified diff that turns ``before`` into ``after``; empty if they are the same.

    Args:
        path: relative to the root, with ``/``.
        before: the old content. Only ``\\n`` ends a line; every other byte is kept as it is.
        after: the new content.
    """
    old, new = (io.BytesIO(data).readlines() for data in (before, after))
    hunks, added, removed = [], 0, 0
    for group in _LocalMatcher(None, old, new, autojunk=False).get_grouped_opcodes(CONTEXT):
        first, last = group[0], group[-1]
        hunks.append(b"@@ -%s +%s @@\n" % (_span(first[1], last[2]), _span(first[3], last[4])))
        for tag, i1, i2, j1, j2 in group:
            if tag == "equal":
                hunks += _marked(b" ", old[i1:i2])
                continue
            hunks += _marked(b"-", old[i1:i2]) + _marked(b"+", new[j1:j2])
            removed += i2 - i1
            added += j2 - j1
    return FileDiff(b"".join([*_header(path), *hunks]) if hunks else b"", added, removed)


def kept_lines(before: bytes, after: bytes) -> list[Match]:
    """The runs of lines in both contents, each with its start, from 0, in `a` (before) and in `b` (after)."""
    old, new = (io.BytesIO(data).readlines() for data in (before, after))
    return _LocalMatcher(None, old, new, autojunk=False).get_matching_blocks()


class _LocalMatcher(SequenceMatcher[bytes]):
    """Matches two files window by window.

    Fixes are local, so lines stay near where they were; difflib's search of whole files takes minutes if
    every other line of 30,000 changes. A missed match makes a diff longer, never wrong.
    """

    a: Sequence[bytes]
    b: Sequence[bytes]

    def get_matching_blocks(self) -> list[Match]:
        blocks: list[Match] = []
        i = j = 0
        window = WINDOW
        while i < len(self.a) and j < len(self.b):
            if self.a[i] == self.b[j]:
                _append(blocks, Match(i, j, 1))
                i, j = i + 1, j + 1
                continue
            old, new = self.a[i : i + window], self.b[j : j + window]
            found = SequenceMatcher(None, old, new, autojunk=False).get_matching_blocks()[:-1]
            for block in found:
                _append(blocks, Match(i + block.a, j + block.b, block.size))
            if found:
                i, j = blocks[-1].a + blocks[-1].size, blocks[-1].b + blocks[-1].size
                window = WINDOW
            elif window >= max(len(self.a) - i, len(self.b) - j):
                break
            else:
                window *= 2  # more lines were added or removed than a window holds
        return [*blocks, Match(len(self.a), len(self.b), 0)]


def _append(blocks: list[Match], block: Match) -> None:
    """Append ``block``, merged with the last one if they touch: hunks are cut between blocks."""
    if blocks and (blocks[-1].a + blocks[-1].size, blocks[-1].b + blocks[-1].size) == (block.a, block.b):
        last = blocks.pop()
        block = last._replace(size=last.size + block.size)
    blocks.append(block)


def _span(start: int, stop: int) -> bytes:
    """A span of lines in a hunk header, numbered from 1; an empty span is given by the line before it."""
    return b"%d,%d" % (start + (stop > start), stop - start)


def _marked(mark: bytes, lines: list[bytes]) -> list[bytes]:
    return [
        mark + line + (b"" if line.endswith(b"\n") else b"\n\\ No newline at end of file\n") for line in lines
    ]


def _header(path: str) -> list[bytes]:
    old, new = _quoted(f"a/{path}"), _quoted(f"b/{path}")
    # Like git: a tab ends a name with spaces, or `patch` would take what follows the space for a date.
    end = b"\t\n" if " " in path and not old.startswith(b'"') else b"\n"
    return [b"--- %s%s" % (old, end), b"+++ %s%s" % (new, end)]


def _quoted(name: str) -> bytes:
    """``name`` as git writes it: in C quotes where it holds a quote, a backslash or a control character."""
    data = os.fsencode(name)
    if not re.search(rb'[\x00-\x1f\x7f"\\]', data):
        return data
    return b'"%s"' % re.sub(rb'[\x00-\x1f\x7f"\\]', lambda match: b"\\%03o" % match[0][0], data)
