"""A document as its reader sees it: blocks in reading order, with numbers, pages, offsets, open changes."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel

from activities.documents.extract import ExtractError

# By suffix, what a file claims to be. Its first bytes decide: a legacy file is refused by name, not skipped.
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
    - `legacy`: .doc, RTF and other old formats; `unsupported`: anything else that is no document;
    - `broken`: damaged; `bomb`: made to unpack or nest beyond all measure, or over the limits of its reading;
    - `too_large`: over the size that is read; `empty`: no text in it.
    """

    def __init__(self, code: UnreadableCode, message: str) -> None:
        super().__init__(message)
        self.code = code


class Change(BaseModel, frozen=True):
    """A tracked change that nobody has accepted or rejected.

    Inserted text and text that was moved here is part of the block's text and begins `at` that offset of the
    document's text; deleted text and text that was moved away is not, and stood there.
    """

    kind: ChangeKind
    text: str
    at: int


class Block(BaseModel, frozen=True):
    """A paragraph, heading, table cell's paragraph, note, header, …

    `number` is the number as it is shown ("12.3", "(a)", "Article IV"), empty where there is none, and no
    part of `text`. `path` is the full number for cross-references ("12.3(a)"). `level` is the depth of a
    heading or numbered clause from 1, 0 elsewhere. `page` counts from 1; None where the format has no pages.
    `start` is where `text` begins in the document's text:
    `document.text[block.start:][: len(block.text)] == block.text`. `row` counts the rows of tables through
    the document and `column` the cells of a row, from 1; 0 outside. `text` is empty where all of a block was
    deleted, and then `changes` says so, and where a number stands alone.
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

    `media_type` is what it is, whatever its suffix claims. `text` is the blocks in order, each behind its
    number. `unread` names in words what a reader of the page sees and this text lacks ("2 pictures");
    `remarks` what a reader of the page does not see ("hidden text in 3 places, left out"). `cut`: there was
    more than is read.
    """

    title: str
    media_type: str
    text: str
    blocks: tuple[Block, ...]
    pages: int | None = None
    unread: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()
    cut: bool = False
