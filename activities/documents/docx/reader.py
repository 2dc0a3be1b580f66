"""Reads a DOCX file: what its reader sees, in reading order, with numbers, pages and open changes."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from activities.documents.assembly import Assembly, FullError
from activities.documents.docx.names import R, W, child, on, short
from activities.documents.docx.numbering import Numbering
from activities.documents.docx.package import Package
from activities.documents.docx.runs import Pages
from activities.documents.docx.story import Place, Story
from activities.documents.docx.styles import Styles
from activities.documents.structure import UnreadableCode, UnreadableError

_MAIN = ("wordprocessingml.document.main", "wordprocessingml.template.main", "ms-word.document.macroenabled")
_TITLE = "{http://purl.org/dc/elements/1.1/}title"
_MAX_NOTES = 20_000


def read(data: bytes) -> dict[str, Any]:
    """The fields of a `StructuredDocument`.

    Raises:
        UnreadableError: it cannot be read.
    """
    package = Package(data)
    main = package.main()
    media_type = package.content_type(main)
    if not any(each in media_type.lower() for each in _MAIN) and "ms-word.template" not in media_type.lower():
        raise UnreadableError("unsupported", "it is an Office file, and no document of a word processor")
    root = package.xml(main)
    body = None if root is None else child(root, "body")
    if body is None:
        raise UnreadableError("broken", "it has no body")
    return Document(package, main, root).read(body)


class Document:
    """What the stories of one document share: its body, headers, footers and notes."""

    def __init__(self, package: Package, main: str, root: Any) -> None:
        self._package = package
        self._related = package.related(main)
        self._root = root
        self._notes: dict[str, dict[str, Any]] = {}
        self._counts: dict[str, int] = {}
        self._rows = 0
        self._hidden = 0
        media_type = package.content_type(main).removesuffix(".main+xml").removesuffix("+xml")
        self.assembly = Assembly(media_type)
        self.styles = Styles(self._part("styles"))
        self.numbering = Numbering(self._part("numbering"), self.styles)
        self.pages = Pages(root)
        self.title = ""

    def read(self, body: Any) -> dict[str, Any]:
        headers, footers = self._around(body)
        with suppress(FullError):
            for each in headers:
                Story(self).read(each, Place("header"))
            Story(self, paged=True).read(body, Place())
            for each in footers:
                Story(self).read(each, Place("footer"))
        core = self._package.xml("docProps/core.xml")
        title = next((each.text or "" for each in core.iter(_TITLE)), "") if core is not None else ""
        if self.assembly.empty():
            if what := self.assembly.unread_words():
                code: UnreadableCode = "scanned" if "a picture" in self.assembly.unread else "unsupported"
                raise UnreadableError(code, f"it holds no text, only {', '.join(what[:5])}")
            raise UnreadableError("empty", "it holds no text")
        self.assembly.title = self.title or title
        self.assembly.pages = self.pages.now
        if self._hidden:
            places = "one place" if self._hidden == 1 else f"{self._hidden} places"
            self.assembly.remarks.append(f"hidden text in {places}, left out")
        return self.assembly.result()

    def say(self, what: str) -> None:
        """Record something that is visible on the page but not read."""
        self.assembly.unread[what] += 1

    def hide(self, text: str) -> None:
        """Record text that is in the file but not visible on the page."""
        self._hidden += bool(text.strip())

    def next_row(self) -> int:
        self._rows += 1
        return self._rows

    def note(self, name: str, key: str) -> tuple[Any, int]:
        """A footnote, endnote or comment, or None if it was read before; and how many of its kind there were.

        Each is read once, because notes may refer to each other.
        """
        if name not in self._notes:
            part = self._part(name)
            found: dict[str, Any] = {}
            for each in part if part is not None else ():
                if each.get(W + "type", "normal") == "normal" and len(found) < _MAX_NOTES:
                    found.setdefault(each.get(W + "id", ""), each)
            self._notes[name] = found
        self._counts[name] = self._counts.get(name, 0) + 1
        return self._notes[name].pop(key, None), self._counts[name]

    def diagram(self, key: str) -> None:
        """Add the words of a SmartArt diagram, one after the other; their arrangement is lost."""
        related = self._related.get(key)
        root = None if related is None or related.outside else self._package.xml(related.target)
        words = [each.text for each in root.iter() if short(each.tag) == "a:t"] if root is not None else []
        self.say("the arrangement of a diagram" if words else "a diagram")
        self.assembly.add("\n".join(filter(None, words)).strip(), "box")

    def _part(self, kind: str) -> Any:
        for each in self._related.values():
            if each.kind == kind and not each.outside:
                return self._package.xml(each.target)
        return None

    def _around(self, body: Any) -> tuple[list[Any], list[Any]]:
        """The headers and the footers that are shown, each once."""
        settings = self._part("settings")
        even = bool(on(settings, "evenAndOddHeaders"))
        found: tuple[list[Any], list[Any]] = ([], [])
        known: set[str] = set()
        for section in body.iter(W + "sectPr"):
            if short(section.getparent().tag) == "w:sectPrChange":
                continue
            for each in section:
                name = short(each.tag)
                if name not in ("w:headerReference", "w:footerReference"):
                    continue
                kind = each.get(W + "type", "default")
                if (kind == "first" and not on(section, "titlePg")) or (kind == "even" and not even):
                    continue
                related = self._related.get(each.get(R + "id", ""))
                if related is None or related.outside or related.target in known:
                    continue
                known.add(related.target)
                root = self._package.xml(related.target)
                words = "" if root is None else "".join(root.itertext()).strip()
                # Sections often repeat the same header in separate parts.
                if root is not None and f"{name} {words}" not in known:
                    known.add(f"{name} {words}" if words else related.target)
                    found[name == "w:footerReference"].append(root)
        return found
