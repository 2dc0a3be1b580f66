"""Fields of a DOCX file: their results are text, their instructions are not."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from activities.documents.docx.names import W, child, number, on, value

_MAX_INSTRUCTION = 2_000


@dataclass
class _Field:
    """An open field: its instruction so far, and whether its result has begun."""

    instruction: list[str] = field(default_factory=list)
    result: bool = False
    form: Any = None
    swallowed: int = 0


class Fields:
    """The fields that are open; they nest, and may span paragraphs."""

    def __init__(self) -> None:
        self._open: list[_Field] = []
        # The amount of text in instructions that never ended.
        self.swallowed = 0

    @property
    def silent(self) -> bool:
        """Whether the current text belongs to an instruction."""
        return any(not each.result for each in self._open)

    def swallow(self, text: str) -> None:
        """Count text within an instruction, which is not shown."""
        self._open[-1].swallowed += len(text)

    def instruct(self, text: str) -> None:
        if self._open and not self._open[-1].result:
            self._open[-1].instruction.append(text[:_MAX_INSTRUCTION])

    def mark(self, element: Any) -> tuple[str, str]:
        """Take a `w:fldChar`; return what it shows in place of a result, and what in it is not read."""
        match element.get(W + "fldCharType"):
            case "begin":
                self._open.append(_Field(form=child(element, "ffData")))
            case "separate":
                if self._open:
                    self._open[-1].result = True
            case "end" if self._open:
                return _shown(self._open.pop())
        return "", ""

    def close(self) -> None:
        """End the story: fields that are still open never ended."""
        self.swallowed += sum(each.swallowed for each in self._open if not each.result)
        self._open.clear()


def _shown(ended: _Field) -> tuple[str, str]:
    words = "".join(ended.instruction).split()
    name = words[0].upper() if words else ""
    if name == "FORMCHECKBOX":
        box = child(ended.form, "checkBox")
        ticked = on(box, "checked") if on(box, "checked") is not None else on(box, "default")
        return "☒" if ticked else "☐", ""
    if name == "FORMDROPDOWN":
        chosen = value(ended.form, "ddList", "result") or value(ended.form, "ddList", "default")
        entries = child(ended.form, "ddList")
        entries = [] if entries is None else entries.findall(W + "listEntry")
        place = number(chosen)
        return (entries[place].get(W + "val", "") if 0 <= place < len(entries) else ""), ""
    if ended.result:
        return "", ""
    if name == "MACROBUTTON":
        return " ".join(words[2:]), ""
    if name in ("LISTNUM", "AUTONUM", "AUTONUMLGL", "AUTONUMOUT"):
        return "", "a number that a field makes"
    if name == "EQ":
        return "", "a formula"
    return "", ""
