"""The parts of a shown plan or result; page, mail, Slack and terminal each render them in their own way."""

from __future__ import annotations

from dataclasses import dataclass, field

from common.approval.diff_view import Diff


@dataclass(frozen=True)
class Words:
    """A short value. `href` is set if it is an address; `is_number` aligns it in tables."""

    shape = "words"
    text: str
    href: str = ""
    is_number: bool = False


@dataclass(frozen=True)
class Prose:
    """Text whose line breaks count; as `markdown` it may be rendered."""

    shape = "prose"
    text: str
    markdown: bool = False


@dataclass(frozen=True)
class Changes:
    """A unified diff, and where it can be opened whole."""

    shape = "changes"
    diff: Diff
    file: File | None = None


@dataclass(frozen=True)
class File:
    """Something to open: `where` is its address below that of its agent; `about` its size, or its kind."""

    shape = "file"
    name: str
    where: str
    about: str = ""


@dataclass(frozen=True)
class Bullets:
    """A list of short values, and how many more there are."""

    shape = "bullets"
    items: list[Words | Prose | File]
    more: int = 0


@dataclass(frozen=True)
class Table:
    """Records of short values."""

    shape = "table"
    columns: list[str]
    rows: list[list[Words]]
    more: int = 0


@dataclass(frozen=True)
class Group:
    """Values that belong together; `head` tells the group from others in a list."""

    shape = "group"
    items: list[Item]
    head: Item | None = None


@dataclass(frozen=True)
class Records:
    """Records with long text, each shown as a block."""

    shape = "records"
    records: list[Group]
    more: int = 0


Part = Words | Prose | Changes | File | Bullets | Table | Group | Records


@dataclass(frozen=True)
class Item:
    """A labelled part; `name` is that of the field."""

    name: str
    label: str
    part: Part


@dataclass(frozen=True)
class ShownPlan:
    """A plan or result for people: its items, its internal items, and all of it as it is signed."""

    items: list[Item] = field(default_factory=list)
    internal: list[Item] = field(default_factory=list)
    whole: str = ""

    @property
    def labels(self) -> dict[str, str]:
        """The label of each field that is shown."""
        return {each.name: each.label for each in self.items}
