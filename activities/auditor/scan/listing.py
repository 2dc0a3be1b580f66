"""Walks a folder for the inventory. Imports little, because each listing runs in a new process."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dulwich.ignore import IgnoreFilter, Pattern
from dulwich.wildmatch import MalformedPattern

from activities.auditor.scan.git_rules import IgnoreRules, TooManyRulesError, find_rules, open_checkout
from activities.auditor.scan.languages import language_of
from activities.auditor.scan.listing_journal import ListingJournal
from activities.safe_files import FolderReader, PathSkippedError, open_folder
from common.digest import digest_bytes

# Names in all folders together. Ignored names count, but not what is inside ignored folders.
MAX_NAMES = 2_000_000
_SNIFFED_BYTES = 8192
_HEARTBEAT_EVERY = 200

# Path, SHA-256, size in bytes, language, packages (as in a `FileEntry`).
Entry = tuple[str, str, int, str, int]


class CannotListError(Exception):
    """The tree cannot be listed: the kind of failure, and one line for a person."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


@dataclass
class Listing:
    """The files below the real path `root`, and what was left out as path and reason; both sorted."""

    root: str
    entries: list[Entry] = field(default_factory=list)
    skipped: list[tuple[str, str]] = field(default_factory=list)


def list_files(request: dict[str, Any], heartbeat: Callable[[int], None]) -> Listing:
    """List what `request`, the fields of an `InventoryRequest`, asks for.

    `heartbeat` is told how many so far. An additional key `journal` is the file of a `ListingJournal`.

    Raises:
        CannotListError: PathMissing, NotAFolder, PathUnreadable, PatternMalformed, TreeTooLarge,
            TooManyRules.
    """
    root = _real_root(request["root"])
    listing = Listing(str(root))
    packages = Packages(root)
    journal = ListingJournal(request.get("journal", ""))
    if request["only"] is None:
        found = _walk(root, _patterns(request["include"]), _patterns(request["exclude"]))
    else:
        found = ((path, "") for path in set(request["only"]))
    try:
        with FolderReader(root) as reader:
            for seen, (path, reason) in enumerate(found):
                if seen % _HEARTBEAT_EVERY == 0:
                    heartbeat(len(listing.entries))
                try:
                    if reason:
                        raise PathSkippedError(reason)
                    status, known = journal.find(root, path)
                    if known is None:
                        entry = _entry(reader, path, request["max_file_bytes"], packages)
                        journal.add(status, entry)
                    else:
                        entry = (known[0], known[1], known[2], known[3], known[4])
                    listing.entries.append(entry)
                except PathSkippedError as skipped:
                    listing.skipped.append((_shown(path), skipped.reason))
    except TooManyRulesError as error:
        raise CannotListError("TooManyRules", str(error)) from None
    # Code points sort as their UTF-8 bytes do.
    listing.entries.sort(key=lambda entry: entry[0])
    listing.skipped.sort(key=lambda entry: entry[0])
    return listing


def answer(request: dict[str, Any]) -> dict[str, Any]:
    """`list_files` with a JSON result, in which a `CannotListError` is the `error`."""
    try:
        return vars(list_files(request, lambda done: None))
    except CannotListError as error:
        return {"error": [error.kind, str(error)]}


def _real_root(path: str) -> Path:
    try:
        if not os.path.isabs(path):
            raise CannotListError(
                "PathMissing", f"{_shown(path)!r} is not an absolute path: give the whole path"
            )
        root = Path(os.path.realpath(path, strict=True))
        str(root).encode()
        if not root.is_dir():
            raise CannotListError(
                "NotAFolder", f"{path} is not a folder: give the folder that holds the code"
            )
        os.scandir(root).close()
    except (FileNotFoundError, NotADirectoryError):
        raise CannotListError("PathMissing", f"there is no folder {_shown(path)}: check the path") from None
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or "not a usable name"
        raise CannotListError(
            "PathUnreadable", f"cannot read {_shown(path)} ({why}): let the worker's user read it"
        ) from None
    return root


def _patterns(written: Sequence[str]) -> IgnoreFilter | None:
    for pattern in written:
        try:
            Pattern(pattern.encode())
        except MalformedPattern:
            raise CannotListError(
                "PatternMalformed", f"{pattern!r} is not a gitignore pattern: close its brackets"
            ) from None
    return IgnoreFilter(pattern.encode() for pattern in written) if written else None


def _walk(
    root: Path, include: IgnoreFilter | None, exclude: IgnoreFilter | None
) -> Iterator[tuple[str, str]]:
    """Every path, with the reason if it must not be read."""
    named = 0
    folders: list[tuple[str, IgnoreRules | None]] = [("", find_rules(root))]
    while folders:
        folder, rules = folders.pop()
        try:
            names = _list(root, folder)
        except PathSkippedError as skipped:
            yield f"{folder}/", skipped.reason
            continue
        named += len(names)
        if named > MAX_NAMES:
            raise CannotListError("TreeTooLarge", f"over {MAX_NAMES:,} names: give a folder with fewer")
        if folder and any(name == ".git" for name, _ in names):
            rules = open_checkout(root / folder) or rules
        for name, kind in names:
            path = f"{folder}/{name}" if folder else name
            if name == ".git" or (rules and rules.ignores(name, kind == "folder")):
                continue
            if kind == "folder":
                if not (exclude and exclude.may_prune_directory(f"{path}/")):
                    folders.append((path, rules.enter(name) if rules else None))
            elif (not include or include.is_ignored(path)) and not (exclude and exclude.is_ignored(path)):
                yield path, "" if kind == "file" else kind


def _list(root: Path, folder: str) -> list[tuple[str, str]]:
    descriptor = open_folder(root, folder)
    try:
        with os.scandir(descriptor) as entries:
            return [(entry.name, _kind(entry)) for entry in entries]
    except OSError:
        raise PathSkippedError("unreadable") from None
    finally:
        os.close(descriptor)


def _kind(entry: os.DirEntry[str]) -> str:
    if entry.is_symlink():
        return "link"
    if entry.is_dir(follow_symlinks=False):
        return "folder"
    return "file" if entry.is_file(follow_symlinks=False) else "special"


class Packages:
    """Which folders below `root` are Python packages."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._known: dict[str, bool] = {}

    def above(self, path: str) -> int:
        """How many of a file's folders, from the innermost outwards, are packages."""
        count, folder = 0, path.rpartition("/")[0]
        while folder and self._is_package(folder):
            count, folder = count + 1, folder.rpartition("/")[0]
        return count

    def _is_package(self, folder: str) -> bool:
        if folder not in self._known:
            self._known[folder] = self._has_marker(folder)
        return self._known[folder]

    def _has_marker(self, folder: str) -> bool:
        try:
            descriptor = open_folder(self._root, folder)
        except PathSkippedError:
            return False
        try:
            return stat.S_ISREG(os.stat("__init__.py", dir_fd=descriptor, follow_symlinks=False).st_mode)
        except OSError:
            return False
        finally:
            os.close(descriptor)


def _entry(reader: FolderReader, path: str, max_bytes: int, packages: Packages) -> Entry:
    if path != _shown(path):
        raise PathSkippedError("name")
    data = reader.read(path, max_bytes)
    if _is_binary(data[:_SNIFFED_BYTES]):
        raise PathSkippedError("binary")
    language = language_of(path, data[:200])
    above = packages.above(path) if language == "python" else 0
    return path, digest_bytes(data), len(data), language, above


def _is_binary(head: bytes) -> bool:
    # Text in a legacy encoding has a few bytes that are not UTF-8; with over a third it is not text.
    return b"\0" in head or head.decode(errors="replace").count("�") * 3 > len(head)


def _shown(path: str) -> str:
    """`path` with bytes that are not UTF-8 spelled out as `\\xNN`, because JSON cannot hold them."""
    return path.encode(errors="surrogateescape").decode(errors="backslashreplace")
