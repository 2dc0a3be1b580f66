"""A shown plan as lines of text, for the terminal, mail and Slack."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from common.approval.diff_view import Diff
from common.approval.plan_parts import (
    Bullets,
    Changes,
    File,
    Group,
    Item,
    Part,
    Prose,
    Records,
    ShownPlan,
    Table,
    Words,
)
from common.visible_text import visible

# Writes a file: by its name, or with its address.
Naming = Callable[[File], str]


def file_named(file: File) -> str:
    """A file by its name, for output in which it cannot be opened."""
    return f"{file.name} ({file.about})" if file.about else file.name


def plan_lines(items: Sequence[Item], named: Naming = file_named) -> Iterator[str]:
    """The items, each with its label; anything longer than a line is indented below it."""
    for item in items:
        yield from _labelled(f"{item.label}:", item.part, named)


def whole_lines(plan: ShownPlan, named: Naming = file_named) -> Iterator[str]:
    """All items of a plan, internal ones last."""
    yield from plan_lines(plan.items, named)
    if plan.internal:
        yield "Also in this plan:"
        yield from (f"  {line}" for line in plan_lines(plan.internal, named))


def part_lines(part: Part, named: Naming = file_named) -> list[str]:
    """A part without a label."""
    match part:
        case Words():
            return part.text.split("\n")
        case Prose():
            return visible(part.text).strip("\n").split("\n")
        case File():
            return [named(part)]
        case Changes():
            return [*([named(part.file)] if part.file else []), *diff_lines(part.diff)]
        case Bullets():
            lines = [line for each in part.items for line in _labelled("-", each, named)]
            return [*lines, *_more(part.more)]
        case Table():
            rows = [" | ".join(cell.text for cell in row) for row in part.rows]
            return [" | ".join(part.columns), *rows, *_more(part.more)]
        case Group():
            return list(plan_lines([*([part.head] if part.head else []), *part.items], named))
        case Records():
            lines = [line for each in part.records for line in _labelled("-", each, named)]
            return [*lines, *_more(part.more)]


def diff_lines(diff: Diff) -> list[str]:
    """A diff, or why it is not there; it says what is left out."""
    return [
        *(line.text for line in diff.lines),
        *([f"… {diff.left_out:,} more lines are not shown here"] if diff.left_out else []),
        *filter(None, [diff.missing]),
    ]


def _labelled(label: str, part: Part, named: Naming) -> Iterator[str]:
    lines = part_lines(part, named)
    if isinstance(part, Words | File) and len(lines) == 1:
        yield f"{label} {lines[0]}"
    elif isinstance(part, Changes):
        # Not indented, so that it can be copied.
        yield label
        yield from lines
    elif label == "-":
        # A record of a list, or a paragraph: it begins at its dash.
        yield from (f"{'- ' if place == 0 else '  '}{line}" for place, line in enumerate(lines))
    else:
        yield label
        yield from (f"  {line}" for line in lines)


def _more(count: int) -> list[str]:
    return [f"… and {count:,} more"] if count else []
