"""Lists what there is to audit: every text file below a folder, with digest, size and language."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from dulwich.ignore import IgnoreFilter, Pattern
from dulwich.wildmatch import MalformedPattern
from temporalio import activity

from activities.auditor.records import FileEntry, Inventory, InventoryRequest, SkippedFile, put_records
from activities.auditor.scan.git_rules import IgnoreRules, find_rules, open_checkout
from activities.auditor.scan.languages import language_of
from activities.safe_files import LeftOut, open_folder, read_inside
from common.agents.agent import Progress
from common.artifacts import ArtifactStore
from common.digest import digest_bytes
from common.errors import permanent

_SNIFFED_BYTES = 8192
_HEARTBEAT_EVERY = 200


class CodeInventory:
    """The activity that takes an inventory; its lists go to `artifacts`."""

    def __init__(self, artifacts: ArtifactStore) -> None:
        self._artifacts = artifacts

    @activity.defn(name="take_inventory")
    def take_inventory(self, request: InventoryRequest) -> Inventory:
        """List the files under a folder in the order of their paths' bytes.

        In a git checkout, ignored files are left out silently; everything else that is not read is counted
        and named. Links are never followed.

        Raises:
            ApplicationError: PathMissing, NotAFolder, PathUnreadable, PatternMalformed; none is retried.
        """
        root = _real_root(request.root)
        if request.only is None:
            found = _walk(root, _patterns(request.include), _patterns(request.exclude))
        else:
            found = ((path, "") for path in set(request.only))
        entries: list[FileEntry] = []
        skipped: list[SkippedFile] = []
        for seen, (path, reason) in enumerate(found):
            if seen % _HEARTBEAT_EVERY == 0:
                activity.heartbeat(Progress(done=len(entries)))
            try:
                if reason:
                    raise LeftOut(reason)
                entries.append(_entry(root, path, request.max_file_bytes))
            except LeftOut as left_out:
                skipped.append(SkippedFile(path=_shown(path), reason=left_out.reason))
        entries.sort(key=lambda entry: entry.path)  # code points sort as their UTF-8 bytes do
        skipped.sort(key=lambda entry: entry.path)
        return Inventory(
            root=str(root),
            listing=put_records(self._artifacts, entries),
            files=len(entries),
            bytes=sum(entry.size for entry in entries),
            languages=_counted(entry.language for entry in entries),
            skipped=_counted(entry.reason for entry in skipped),
            left_out=put_records(self._artifacts, skipped),
        )


def _real_root(path: str) -> Path:
    try:
        if not os.path.isabs(path):
            raise permanent("PathMissing", f"{_shown(path)!r} is not an absolute path: give the whole path")
        root = Path(os.path.realpath(path, strict=True))
        str(root).encode()
        if not root.is_dir():
            raise permanent("NotAFolder", f"{path} is not a folder: give the folder that holds the code")
        os.scandir(root).close()
    except (FileNotFoundError, NotADirectoryError):
        raise permanent("PathMissing", f"there is no folder {_shown(path)}: check the path") from None
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or "not a usable name"
        raise permanent(
            "PathUnreadable", f"cannot read {_shown(path)} ({why}): let the worker's user read it"
        ) from None
    return root


def _patterns(written: Sequence[str]) -> IgnoreFilter | None:
    for pattern in written:
        try:
            Pattern(pattern.encode())
        except MalformedPattern:
            raise permanent(
                "PatternMalformed", f"{pattern!r} is not a gitignore pattern: close its brackets"
            ) from None
    return IgnoreFilter(pattern.encode() for pattern in written) if written else None


def _walk(
    root: Path, include: IgnoreFilter | None, exclude: IgnoreFilter | None
) -> Iterator[tuple[str, str]]:
    """Every path, with the reason if it is not to be read."""
    folders: list[tuple[str, IgnoreRules | None]] = [("", find_rules(root))]
    while folders:
        folder, rules = folders.pop()
        try:
            names = _list(root, folder)
        except LeftOut as left_out:
            yield f"{folder}/", left_out.reason
            continue
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
        raise LeftOut("unreadable") from None
    finally:
        os.close(descriptor)


def _kind(entry: os.DirEntry[str]) -> str:
    if entry.is_symlink():
        return "link"
    if entry.is_dir(follow_symlinks=False):
        return "folder"
    return "file" if entry.is_file(follow_symlinks=False) else "special"


def _entry(root: Path, path: str, max_bytes: int) -> FileEntry:
    if path != _shown(path):
        raise LeftOut("name")
    data = read_inside(root, path, max_bytes)
    if _is_binary(data[:_SNIFFED_BYTES]):
        raise LeftOut("binary")
    return FileEntry(
        path=path, sha256=digest_bytes(data), size=len(data), language=language_of(path, data[:200])
    )


def _is_binary(head: bytes) -> bool:
    # Text in a legacy encoding has a few bytes that are not UTF-8; with over a third it is not text.
    return b"\0" in head or head.decode(errors="replace").count("�") * 3 > len(head)


def _shown(path: str) -> str:
    """`path` with bytes that are not UTF-8 spelled out as `\\xNN`, because JSON cannot hold them."""
    return path.encode(errors="surrogateescape").decode(errors="backslashreplace")


def _counted(words: Iterator[str]) -> dict[str, int]:
    return dict(sorted(Counter(words).items()))
