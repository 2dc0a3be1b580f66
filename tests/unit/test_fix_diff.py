"""Diffs of bytes."""

from __future__ import annotations

import io
import re
import shutil
import subprocess
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from activities.auditor.fix.diff import WINDOW, diff_file

# Lines that are alike, hold other line ends, bytes that are no UTF-8, and what has a meaning in a diff.
LINES = st.sampled_from(
    [b"\n", b"a\n", b"b\n", b"b\r\n", b"\r", b"\xff\xe9\n", b"--- a\n", b"+b\n", b"\x0c\n", b"c"]
)
CONTENTS = st.lists(LINES, max_size=40).map(b"".join)


def applied(diff: bytes, data: bytes) -> bytes:
    """`data` with the one-file diff applied to the letter: no offset, no fuzz."""
    old, new, at = io.BytesIO(data).readlines(), [], 0
    _, *hunks = re.split(rb"^@@ -(\d+),(\d+) \+(\d+),(\d+) @@\n", diff, flags=re.MULTILINE)
    for index in range(0, len(hunks), 5):
        old_start, old_count, new_start, new_count = map(int, hunks[index : index + 4])
        start = old_start - (old_count > 0)
        new += old[at:start]
        assert len(new) == new_start - (new_count > 0)
        lines = io.BytesIO(hunks[index + 4].replace(b"\n\\ No newline at end of file\n", b"\0")).readlines()
        lines = [line for each in lines for line in re.findall(rb"[^\0]*\n|[^\0]+\0", each)]
        bodies = [(line[:1], line[1:].removesuffix(b"\0")) for line in lines]
        removed = [body for mark, body in bodies if mark in b" -"]
        added = [body for mark, body in bodies if mark in b" +"]
        assert (len(removed), len(added)) == (old_count, new_count)
        assert old[start : start + old_count] == removed
        new += added
        at = start + old_count
    return b"".join(new + old[at:])


@settings(derandomize=True, deadline=None, max_examples=300)
@given(CONTENTS, CONTENTS)
def test_a_diff_leads_from_one_content_to_the_other_and_back(before: bytes, after: bytes) -> None:
    """Whatever the bytes are, and whatever ends the file."""
    there, back = diff_file("a.py", before, after), diff_file("a.py", after, before)
    assert applied(there.text, before) == after
    assert applied(back.text, after) == before
    lines = [len(io.BytesIO(data).readlines()) for data in (before, after)]
    assert there.lines_added - there.lines_removed == lines[1] - lines[0]
    assert (there.text == b"") == (before == after)


@pytest.mark.parametrize("program", ["git", "patch"])
@pytest.mark.parametrize(
    "name",
    ["a.py", "pkg/two words.py", "ünï.py", 'quo"te.py', "back\\slash.py", "tab\tand\nline.py", "-x.py", "@x"],
)
@pytest.mark.parametrize(
    ("before", "after"),
    [
        (b"a\nb\n", b"b\n"),
        (b"a\r\nb\r\nc", b"b\r\nc"),
        (b"a", b""),
        (b"", b"a\n"),
        (b"\xe9\na", b"\xe9\na\n"),
    ],
    ids=["plain", "crlf", "emptied", "filled", "latin"],
)
def test_the_usual_programs_take_a_diff(
    tmp_path: Path, program: str, name: str, before: bytes, after: bytes
) -> None:
    """With any file name, and with a file that becomes empty and stays a file."""
    if not shutil.which(program):
        pytest.skip(f"{program} is not on this machine")
    file = tmp_path / name
    file.parent.mkdir(exist_ok=True)
    file.write_bytes(before)
    command = {"git": ["git", "apply"], "patch": ["patch", "-p1", "--fuzz=0"]}[program]
    diff = diff_file(name, before, after).text
    told = subprocess.run(command, cwd=tmp_path, input=diff, capture_output=True, check=False)
    assert told.returncode == 0, told
    assert file.read_bytes() == after
    assert [other for other in tmp_path.rglob("*") if other.is_file()] == [file]


def test_far_apart_changes_make_small_hunks() -> None:
    """Lines that came or went do not put off what follows them, even more of them than a window holds."""
    before = [b"line %d\n" % number for number in range(5 * WINDOW)]
    after = [b"new\n", *before[:10], *before[10 + 2 * WINDOW : -1], b"last\n"]
    diff = diff_file("a.py", b"".join(before), b"".join(after))
    assert (diff.lines_added, diff.lines_removed) == (2, 2 * WINDOW + 1)
    assert diff.text.count(b"\n@@ ") == 3


def test_many_changes_in_a_long_file_take_seconds() -> None:
    """A file where every second of 30,000 lines changes does not hold the activity past its heartbeat."""
    before = [b"x = %d  \n" % number for number in range(30_000)]
    after = [line if number % 2 else b"x = %d\n" % number for number, line in enumerate(before)]
    start = time.thread_time()
    diff = diff_file("a.py", b"".join(before), b"".join(after))
    assert (diff.lines_added, diff.lines_removed) == (15_000, 15_000)
    assert time.thread_time() - start < 20  # difflib alone: over 100
