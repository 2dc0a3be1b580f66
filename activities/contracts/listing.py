"""Lists the contracts below a folder, without reading them."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from activities.documents.structure import STRUCTURED_TYPES
from activities.safe_files import PathSkippedError, is_utf8, open_folder
from common.agents.batch import MAX_ITEMS, MAX_KEY
from common.digest import digest_bytes
from common.errors import permanent

MAX_DEPTH = 20
_DIGEST = 12

_REASONS = {
    "link": "a link",
    "special": "no regular file",
    "private": "out of bounds",
    "vanished": "gone while it was read",
    "name": "its path is too long, or no text",
    "unreadable": "no permission to read it",
}


@dataclass
class ContractListing:
    """Sorted paths below the folder, the number of files of other kinds, and what is left out and why."""

    names: list[str] = field(default_factory=list)
    other: int = 0
    left_out: dict[str, str] = field(default_factory=dict)


def list_contracts(root: Path, heartbeat: Callable[[int], None]) -> ContractListing:
    """Every document below `root`, except hidden ones. `heartbeat` is called with the number found so far.

    Raises:
        ApplicationError: type `FolderMissing` or `TooManyFiles`, permanent.
    """
    listing = ContractListing()
    for name in _walk(root, "", 0, listing):
        listing.names.append(name)
        if len(listing.names) > MAX_ITEMS:
            raise permanent("TooManyFiles", f"{root} holds over {MAX_ITEMS:,} documents")
        if not len(listing.names) % 1000:
            heartbeat(len(listing.names))
    return listing


def _walk(root: Path, folder: str, depth: int, listing: ContractListing) -> Iterator[str]:
    try:
        descriptor = open_folder(root, folder)
    except PathSkippedError as error:
        if not folder:
            raise permanent("FolderMissing", f"{root} cannot be read: {why(error)}") from None
        listing.left_out[folder] = why(error)
        return
    try:
        with os.scandir(descriptor) as found:
            entries = sorted(
                (each.name, each.is_symlink(), each.is_dir(follow_symlinks=False))
                for each in found
                if not each.name.startswith(".")
            )
    finally:
        os.close(descriptor)
    for name, is_link, is_folder in entries:
        path = f"{folder}/{name}" if folder else name
        if not is_utf8(path):
            listing.left_out[path.encode("utf-8", "replace").decode()] = "its name is no UTF-8"
        elif is_folder and not is_link:
            if depth + 1 >= MAX_DEPTH:
                listing.left_out[path] = f"deeper than {MAX_DEPTH} folders"
            else:
                yield from _walk(root, path, depth + 1, listing)
        elif media_type_of(name) is None:
            listing.other += 1
        elif is_link:
            listing.left_out[path] = _REASONS["link"]
        else:
            yield path


def media_type_of(name: str) -> str | None:
    """The media type that a file's name claims; None if it is not a document."""
    return STRUCTURED_TYPES.get(PurePosixPath(name).suffix.lower())


def key_of(name: str) -> str:
    """A contract's key in its batch: its path, or for a long path a digest and the end of the path."""
    if len(name) <= MAX_KEY:
        return name
    digest = digest_bytes(name.encode())[:_DIGEST]
    return f"{digest}…{name[-(MAX_KEY - _DIGEST - 1) :]}"


def why(error: PathSkippedError) -> str:
    """Why a path was left out, in words."""
    return _REASONS.get(error.reason, error.reason)
