"""Reads the documents of a folder: their texts, and a digest that shows whether they changed."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from pydantic import BaseModel
from temporalio import activity

from activities.documents.structure import STRUCTURED_TYPES
from activities.safe_files import PathSkippedError, is_utf8, open_folder, read_inside
from common.agents.agent import Progress
from common.agents.fields import LocalPath
from common.artifacts import ArtifactRef, ArtifactStore
from common.digest import digest, digest_bytes
from common.errors import permanent

# The types that an agent takes as material, out of those that can be read with their structure.
MEDIA_TYPES = {
    suffix: STRUCTURED_TYPES[suffix]
    for suffix in (".txt", ".text", ".md", ".markdown", ".html", ".htm", ".pdf", ".docx", ".docm")
}
# What one activity can read within minutes.
MAX_DOCUMENTS = 200
MAX_BYTES = 20_000_000
MAX_BYTES_IN_ALL = 100_000_000
MAX_DEPTH = 8
MAX_NAMED = 200
MAX_ENTRIES = 20_000

# Part of the digest that an approved plan rests on: another wording would void approvals.
_REASONS = {
    "oversized": f"over {MAX_BYTES} bytes",
    "link": "a link",
    "special": "no regular file",
    "private": "out of bounds",
    "vanished": "gone while it was read",
    "name": "its path is too long",
    "unreadable": "no permission to read it",
}


class DocumentText(Protocol):
    """The text of a document, its title (may be empty), and whether the text was truncated."""

    @property
    def title(self) -> str: ...
    @property
    def text(self) -> str: ...
    @property
    def cut(self) -> bool: ...


class DocumentsRequest(BaseModel, frozen=True):
    """Asks about the documents below a folder."""

    folder: LocalPath


class Document(BaseModel, frozen=True):
    """A document that was read. `name` is its path below the folder; `digest` the SHA-256 of its bytes."""

    name: str
    media_type: str
    title: str
    digest: str
    characters: int
    cut: bool
    text: ArtifactRef


class DocumentSet(BaseModel, frozen=True):
    """The documents of a folder by name, and those that could not be read, with the reasons.

    `unread` counts the latter; `unreadable` has the first 200 by name. `other` counts files of other kinds,
    `unnamed` those whose names are not UTF-8. Hidden files are skipped.
    """

    documents: list[Document]
    digest: str
    unreadable: dict[str, str]
    unread: int
    other: int
    unnamed: int


class DocumentsDigest(BaseModel, frozen=True):
    """One digest for all documents: names and bytes, or why one could not be read."""

    digest: str


class Documents:
    """The activities that read documents.

    `text_of` extracts the text from bytes of a media type; it raises `ValueError` with the reason if there is
    none.
    """

    def __init__(self, artifacts: ArtifactStore, text_of: Callable[[bytes, str], DocumentText]) -> None:
        self._artifacts = artifacts
        self._text_of = text_of

    @activity.defn(name="read_documents")
    def read_documents(self, request: DocumentsRequest) -> DocumentSet:
        """Read every document below the folder; the texts go to the artifact store.

        Raises:
            ApplicationError: type `FolderMissing` or `TooManyFiles`.
        """
        documents: list[Document] = []
        survey = _Survey(request.folder)
        for name, data in survey:
            media_type = MEDIA_TYPES[Path(name).suffix.lower()]
            try:
                read = self._text_of(data, media_type)
                text = read.text.encode("utf-8", "replace")
                documents.append(
                    Document(
                        name=name,
                        media_type=media_type,
                        title=read.title[:300],
                        digest=digest_bytes(data),
                        characters=len(read.text),
                        cut=read.cut,
                        text=self._artifacts.put(text),
                    )
                )
            except ValueError as error:
                survey.left_out[name] = str(error)[:300]
            activity.heartbeat(Progress(done=len(documents), total=len(documents)))
        return DocumentSet(
            documents=documents,
            digest=survey.digest(),
            unreadable=dict(sorted(survey.left_out.items())[:MAX_NAMED]),
            unread=len(survey.left_out),
            other=survey.other,
            unnamed=survey.unnamed,
        )

    @activity.defn(name="documents_digest")
    def documents_digest(self, request: DocumentsRequest) -> DocumentsDigest:
        """The digest that `read_documents` would give now, without extracting the texts.

        Raises:
            ApplicationError: type `FolderMissing` or `TooManyFiles`.
        """
        survey = _Survey(request.folder)
        for done, _ in enumerate(survey, 1):
            activity.heartbeat(Progress(done=done, total=done))
        return DocumentsDigest(digest=survey.digest())


class _Survey:
    """One pass over the folder: iterate over names and bytes, then read the digest and what was left out."""

    def __init__(self, folder: str) -> None:
        self._root = Path(folder)
        self._seen: dict[str, str] = {}
        self._entries = 0
        self._bytes = 0
        self.left_out: dict[str, str] = {}
        self.other = 0
        self.unnamed = 0

    def __iter__(self) -> Iterator[tuple[str, bytes]]:
        read = 0
        for name in self._names("", 0):
            try:
                if read >= MAX_DOCUMENTS:
                    raise _OverLimitError(f"past the first {MAX_DOCUMENTS} documents")
                data = read_inside(self._root, name, MAX_BYTES)
                if self._bytes + len(data) > MAX_BYTES_IN_ALL:
                    raise _OverLimitError(f"past the first {MAX_BYTES_IN_ALL} bytes")
            except PathSkippedError as error:
                self._leave(name, _REASONS.get(error.reason, error.reason))
                continue
            read += 1
            self._bytes += len(data)
            self._seen[name] = digest_bytes(data)
            yield name, data

    def digest(self) -> str:
        """Covers the name and bytes of each document, and the reason for each that was not read."""
        return digest(dict(sorted(self._seen.items())))

    def _leave(self, name: str, reason: str) -> None:
        self.left_out[name] = reason
        self._seen[name] = f"not read: {reason}"

    def _names(self, folder: str, depth: int) -> Iterator[str]:
        """The paths of documents below `folder`, each folder sorted by name."""
        for entry in self._list(folder):
            path = f"{folder}/{entry.name}" if folder else entry.name
            if entry.is_link:
                if entry.is_document:
                    self._leave(path, _REASONS["link"])
            elif entry.is_folder:
                if depth + 1 >= MAX_DEPTH:
                    self._leave(path, f"deeper than {MAX_DEPTH} folders")
                else:
                    yield from self._names(path, depth + 1)
            elif entry.is_document:
                yield path
            else:
                self.other += 1

    def _list(self, folder: str) -> list[_Entry]:
        try:
            descriptor = open_folder(self._root, folder)
        except PathSkippedError as error:
            if not folder:
                raise permanent("FolderMissing", f"{self._root} cannot be read: {error.reason}") from None
            self._leave(folder, _REASONS.get(error.reason, error.reason))
            return []
        found = []
        try:
            with os.scandir(descriptor) as entries:
                for entry in entries:
                    self._entries += 1
                    if self._entries > MAX_ENTRIES:
                        raise permanent("TooManyFiles", f"{self._root} holds over {MAX_ENTRIES} files")
                    if entry.name.startswith("."):
                        continue
                    if not is_utf8(entry.name):
                        self.unnamed += 1
                        continue
                    found.append(_Entry(entry.name, entry.is_symlink(), entry.is_dir(follow_symlinks=False)))
        finally:
            os.close(descriptor)
        return sorted(found, key=lambda each: each.name)


@dataclass(frozen=True)
class _Entry:
    """An entry of a folder."""

    name: str
    is_link: bool
    is_folder: bool

    @property
    def is_document(self) -> bool:
        return Path(self.name).suffix.lower() in MEDIA_TYPES


class _OverLimitError(PathSkippedError):
    """A document beyond a limit on all documents together."""
