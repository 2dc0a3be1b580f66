"""A document as its reader sees it: blocks in reading order, with numbers, pages, offsets, open changes."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel

from activities.documents.extract import ExtractError

# What a file claims to be by its suffix; its first bytes decide. Legacy types are here to be refused, not
# skipped.
STRUCTURED_TYPES = {
    ".txt": "text/plain",
    ".text": "text/plain",
    ".md": "text/markdown",
    ".markdown": "text/markdown",
    ".html": "text/html",
    ".htm": "text/html",
    ".xhtml": "application/xhtml+xml",
    ".pdf": "application/pdf",
    ".docx": "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
    ".docm": "application/vnd.ms-word.document.macroEnabled.12",
    ".dotx": "application/vnd.openxmlformats-officedocument.wordprocessingml.template",
    ".doc": "application/msword",
    ".rtf": "application/rtf",
    ".odt": "application/vnd.oasis.opendocument.text",
}

BlockKind = Literal[
    "paragraph", "heading", "cell", "note", "header", "footer", "box", "comment", "field", "annotation"
]
ChangeKind = Literal["inserted", "deleted", "moved_here", "moved_away"]
UnreadableCode = Literal[
    "encrypted", "scanned", "legacy", "broken", "bomb", "too_large", "empty", "unsupported"
]


class UnreadableError(ExtractError):
    """A document cannot be read at all: `code` says why in one word, the message in one line of our own.

    - `encrypted`: a password is needed; `scanned`: it holds pictures of pages and no text;
    - `legacy`: .doc, RTF and other old formats; `unsupported`: anything else that is not a document;
    - `broken`: damaged; `bomb`: unpacks or nests excessively, or exceeded the limits for reading it;
    - `too_large`: over the size limit; `empty`: no text in it.
    """

    def __init__(self, code: UnreadableCode, message: str) -> None:
        super().__init__(message)
        self.code = code


class Change(BaseModel, frozen=True):
    """A tracked change that nobody has accepted or rejected.

    Text that was inserted or moved here is part of the block's text, and begins at the offset `at` of the
    document's text. Text that was deleted or moved away is not part of it; `at` is where it was.
    """

    kind: ChangeKind
    text: str
    at: int


class Block(BaseModel, frozen=True):
    """A paragraph, heading, table cell's paragraph, note, header, …

    `number` is the number as shown ("12.3", "(a)", "Article IV"), which is not part of `text`; empty if there
    is none. `path` is the full number for cross-references ("12.3(a)"). `level` is the depth of a heading or
    numbered clause from 1; 0 for others. `page` counts from 1; None if the format has no pages. `start` is
    where `text` begins in the document's text:
    `document.text[block.start:][: len(block.text)] == block.text`. `row` counts the table rows of the whole
    document and `column` the cells of a row, from 1; 0 outside tables. `text` is empty if all of the block
    was deleted (see `changes`), or if a number stands alone.
    """

    text: str
    kind: BlockKind = "paragraph"
    number: str = ""
    path: str = ""
    level: int = 0
    page: int | None = None
    start: int = 0
    row: int = 0
    column: int = 0
    changes: tuple[Change, ...] = ()


class StructuredDocument(BaseModel, frozen=True):
    """A document that was read.

    `media_type` is what it is, whatever its suffix claims. `text` is the blocks in order, each after its
    number. `unread` names in words what a reader of the page sees and this text lacks ("2 pictures");
    `remarks` what a reader of the page does not see ("hidden text in 3 places, left out"). `cut`: it was
    longer than the limit, and the rest was not read.
    """

    title: str
    media_type: str
    text: str
    blocks: tuple[Block, ...]
    pages: int | None = None
    unread: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()
    cut: bool = False
