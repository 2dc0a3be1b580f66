"""The parts of an OOXML file. Both its ZIP and its XML may be a bomb."""

from __future__ import annotations

import io
import posixpath
import zipfile
import zlib
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

from lxml import etree

from activities.documents.structure import UnreadableError

MAX_ENTRIES = 10_000
MAX_PART = 64_000_000
MAX_PARTS_IN_ALL = 128_000_000
# The XML of a long contract compresses to about a twentieth; something big and far beyond that is a bomb.
MAX_RATIO = 400
FREE_OF_RATIO = 4_000_000

_TRANSITIONAL = b"http://schemas.openxmlformats.org/"
# The strict form of the standard has other namespaces for the same things.
_STRICT = (
    (b"http://purl.oclc.org/ooxml/wordprocessingml/main", b"wordprocessingml/2006/main"),
    (b"http://purl.oclc.org/ooxml/officeDocument/relationships", b"officeDocument/2006/relationships"),
    (b"http://purl.oclc.org/ooxml/officeDocument/math", b"officeDocument/2006/math"),
    (b"http://purl.oclc.org/ooxml/drawingml/", b"drawingml/2006/"),
)
_RELATIONSHIP = "{http://schemas.openxmlformats.org/package/2006/relationships}Relationship"
_CONTENT = "{http://schemas.openxmlformats.org/package/2006/content-types}"


@dataclass(frozen=True)
class Relationship:
    """What a part points to: the last word of the type, and another part or an external address."""

    kind: str
    target: str
    outside: bool


class Package:
    """An opened file.

    Raises:
        UnreadableError: broken, encrypted, a bomb, or not a document of a word processor.
    """

    def __init__(self, data: bytes) -> None:
        try:
            self._zip = zipfile.ZipFile(io.BytesIO(data))
            entries = self._zip.infolist()
        except (zipfile.BadZipFile, ValueError, OSError, NotImplementedError, RuntimeError, EOFError):
            raise UnreadableError("broken", "its ZIP container is damaged") from None
        if len(entries) > MAX_ENTRIES:
            raise UnreadableError("bomb", f"its ZIP container holds over {MAX_ENTRIES} files")
        self._entries = {entry.filename.lower(): entry for entry in entries}
        if len(self._entries) < len(entries):
            # Programs differ in which one they take, so we might not read what a person sees.
            raise UnreadableError("broken", "its ZIP container holds two files of one name")
        if any(entry.flag_bits & 1 for entry in entries):
            raise UnreadableError("encrypted", "its ZIP container is encrypted")
        self._left = MAX_PARTS_IN_ALL
        self._types = self._content_types()

    def __contains__(self, name: str) -> bool:
        return name.lower() in self._entries

    def content_type(self, name: str) -> str:
        by_suffix = self._types.get("." + name.rpartition(".")[2].lower(), "")
        return self._types.get(name.lower(), by_suffix)

    def main(self) -> str:
        """The name of the part that is the document."""
        for related in self.related("").values():
            if related.kind == "officeDocument" and not related.outside and related.target in self:
                return related.target
        raise UnreadableError("broken", "its ZIP container holds no document")

    def related(self, part: str) -> dict[str, Relationship]:
        """What `part` (empty: the file itself) points to, by id."""
        folder, _, name = part.rpartition("/")
        place = f"{folder}/_rels/{name}.rels" if folder else f"_rels/{name}.rels"
        root = self.xml(place)
        out = {}
        for each in root.iter(_RELATIONSHIP) if root is not None else ():
            target = unquote(each.get("Target", ""))
            inside = (
                target[1:] if target.startswith("/") else posixpath.normpath(f"{folder}/{target}").lstrip("/")
            )
            out[each.get("Id", "")] = Relationship(
                kind=each.get("Type", "").rpartition("/")[2],
                target=inside,
                outside=each.get("TargetMode") == "External",
            )
        return out

    def xml(self, name: str) -> Any:
        """The root element of a part; None if there is no such part."""
        entry = self._entries.get(name.lower())
        return None if entry is None else parsed(self._unpacked(entry))

    def _unpacked(self, entry: zipfile.ZipInfo) -> bytes:
        limit = min(MAX_PART, self._left)
        try:
            with self._zip.open(entry) as file:
                data = file.read(limit + 1)
        except (zipfile.BadZipFile, zlib.error, ValueError, OSError, EOFError):
            raise UnreadableError("broken", "a part of its ZIP container is damaged") from None
        except (NotImplementedError, RuntimeError):
            raise UnreadableError("broken", "its ZIP container is packed in an unknown way") from None
        ratio = len(data) / max(entry.compress_size, 1)
        if len(data) > limit or (len(data) > FREE_OF_RATIO and ratio > MAX_RATIO):
            raise UnreadableError("bomb", "it unpacks to more than a document may")
        self._left -= len(data)
        return data

    def _content_types(self) -> dict[str, str]:
        root = self.xml("[Content_Types].xml")
        if root is None:
            raise UnreadableError("unsupported", "it is a ZIP archive, and no document")
        types = {}
        for each in root:
            kind = each.get("ContentType", "")
            if each.tag == _CONTENT + "Default":
                types["." + each.get("Extension", "").lower()] = kind
            elif each.tag == _CONTENT + "Override":
                types[unquote(each.get("PartName", "")).lstrip("/").lower()] = kind
        return types


def parsed(data: bytes) -> Any:
    """The root element of untrusted XML.

    Raises:
        UnreadableError: broken, nested too deeply, or with a document type (which OOXML forbids).
    """
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        text = data.decode("utf-16", "replace")
        data = (text.partition("?>")[2] if text.startswith("<?xml") else text).encode("utf-8", "replace")
    if b"//purl.oclc.org/ooxml/" in data:
        for strict, name in _STRICT:
            data = data.replace(strict, _TRANSITIONAL + name)
    parser = etree.XMLParser(
        resolve_entities=False,
        load_dtd=False,
        no_network=True,
        remove_comments=True,
        remove_pis=True,
        huge_tree=False,
    )
    try:
        root = etree.fromstring(data, parser)
    except etree.XMLSyntaxError as error:
        if "depth" in str(error).lower() or "loop" in str(error).lower() or "amplification" in str(error):
            raise UnreadableError("bomb", "its XML is nested without measure") from None
        raise UnreadableError("broken", "its XML is damaged") from None
    tree = root.getroottree()
    if tree.docinfo.doctype or tree.docinfo.internalDTD is not None:
        raise UnreadableError("bomb", "its XML declares entities of its own")
    return root
