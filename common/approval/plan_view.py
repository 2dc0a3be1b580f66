"""Plans and results as people see them: labelled parts, which page, mail, Slack and terminal render.

A field's declaration says how it is shown (`common/shown.py`). If there is none, or the type is not known
here, the form of the value decides. Nothing is left out: internal and blank fields are in `whole`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from typing import Any
from urllib.parse import quote

from pydantic import BaseModel
from temporalio.exceptions import ApplicationError

from common.approval.diff_view import Diff, view_of
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
from common.approval.values import NONE, author_of, label_of, plain, ref_of, size_in_words, worded
from common.artifacts import ArtifactRef, ArtifactStore
from common.object_store import StoreUnavailableError
from common.shown import UNTYPED, ShownField, fits, shown_fields
from common.visible_text import visible

# Larger diffs are not read for a page.
DIFF_BYTES = 16_000_000
# How many elements of a list are shown; the whole plan has all.
MAX_LISTED = 100
# Longer text becomes a paragraph; the limits of a table's cells and columns.
LINE, CELL, COLUMNS = 160, 60, 5
MAX_DEPTH = 4
_UNIFIED = re.compile(r"^(?:diff --git .*|--- .*\n\+\+\+ .*\n@@ -\d)", re.MULTILINE)
_ADDRESS = re.compile(r"https?://[!-~]+")


@dataclass(frozen=True)
class RenderContext:
    """The context in which a plan is shown.

    Attributes:
        artifacts: where its diff is fetched from.
        files: the names of the agent's files, which can be opened.
        is_local: whether it is shown on the worker's machine, where a path leads to a file.
        most: how many elements of a list are shown.
    """

    artifacts: ArtifactStore | None = None
    files: Collection[str] = ()
    is_local: bool = False
    most: int = MAX_LISTED


NO_CONTEXT = RenderContext()


def show_plan(
    plan: Mapping[str, Any], kind: type[BaseModel] | None, context: RenderContext = NO_CONTEXT
) -> ShownPlan:
    """The plan, shown as `kind` declares. Blocks if `context` has artifacts."""
    fields = _fields(plan, kind)
    hidden = [name for name in fields if name in plan and fields[name].shown.internal]
    return ShownPlan(
        list(_items(plan, kind, context)),
        [Item(name, _label(plan, name, fields[name]), Words(plain(plan[name]))) for name in hidden],
        "\n".join(visible(line) for line in json.dumps(dict(plan), indent=2, ensure_ascii=False).split("\n")),
    )


def refs_in(value: object) -> Iterator[ArtifactRef]:
    """Every artifact that a plan or result refers to."""
    if ref := ref_of(value):
        yield ref
    elif isinstance(value, dict | list | tuple):
        for each in value.values() if isinstance(value, dict) else value:
            yield from refs_in(each)


def without_paths(value: Any, kind: type[BaseModel] | None) -> Any:
    """A result with the names of its agent's files instead of their paths on a worker."""
    if kind is None or not isinstance(value, dict):
        return value
    fields = shown_fields(kind)
    return {
        name: _names(each) if fields.get(name, UNTYPED).shown.form == "file" else each
        for name, each in value.items()
    }


def read_diff(ref: ArtifactRef, artifacts: ArtifactStore) -> Diff:
    """The diff that ``ref`` names, as a page shows it. Blocks; recent diffs are cached."""
    if ref.size > DIFF_BYTES:
        return Diff(missing=f"The diff has {ref.size:,} bytes, too many to show here.")
    try:
        return _read_diff(ref, artifacts)
    except StoreUnavailableError:
        return Diff(missing="The diff cannot be read just now: the object store is away.")
    except ApplicationError:
        return Diff(missing="The diff is not in the object store, or it was changed there.")


@lru_cache(maxsize=64)
def _read_diff(ref: ArtifactRef, artifacts: ArtifactStore) -> Diff:
    return view_of(artifacts.get(ref).decode(errors="replace"))


_view_of = lru_cache(maxsize=64)(view_of)


def _items(
    values: Mapping[str, Any], kind: type[BaseModel] | None, context: RenderContext, depth: int = 0
) -> Iterator[Item]:
    """The items of a plan, or of a record within it; bare artifacts and diffs come last."""
    fields = _fields(values, kind)
    values = {**values, **_derived(values, kind, fields)}
    last = list[Item]()
    for name in [
        *(each for each in fields if each in values),
        *(each for each in values if each not in fields),
    ]:
        declared, value = fields.get(name, UNTYPED), values[name]
        if declared.shown.internal or (declared.may_be_blank and value == ""):
            continue
        label, ref = _label(values, name, declared), ref_of(value)
        if ref and context.artifacts and not depth and (declared.shown.form or name) == "diff":
            diff = read_diff(ref, context.artifacts)
            last.append(Item(name, label, Changes(diff, _artifact(ref, declared, name))))
        elif ref and not declared.shown.order:
            last.insert(0, Item(name, label, _artifact(ref, declared, name)))
        else:
            yield Item(name, label, _part(value, declared, context, depth, name))
    yield from last


def _fields(values: Mapping[str, Any], kind: type[BaseModel] | None) -> Mapping[str, ShownField]:
    return shown_fields(kind) if kind is not None and fits(kind, dict(values)) else {}


def _label(values: Mapping[str, Any], name: str, declared: ShownField) -> str:
    """A field's label, with the author if a language model may have written its value."""
    label, author = declared.shown.label or label_of(name), author_of(values, name)
    return f"{label}, by {author}" if author else label


def _derived(
    values: Mapping[str, Any], kind: type[BaseModel] | None, fields: Mapping[str, ShownField]
) -> dict[str, Any]:
    """Values derived from the plan, such as a total."""
    names = [name for name, each in fields.items() if each.derived]
    if kind is None or not names:
        return {}
    with suppress(Exception):  # a plan of an older version, or one whose own rules raise
        plan = kind.model_validate(values)
        return {name: _as_json(getattr(plan, name)) for name in names}
    return {}


def _as_json(value: Any) -> Any:
    return value if isinstance(value, bool | int | float | list | dict) or value is None else str(value)


def _part(value: Any, declared: ShownField, context: RenderContext, depth: int, name: str = "") -> Part:
    if ref := ref_of(value):
        return _artifact(ref, declared, name)
    if isinstance(value, dict) and value and depth < MAX_DEPTH:
        if declared.shown.form == "file":
            # What people can read in a browser comes first.
            files = sorted(value.items(), key=lambda pair: not str(pair[1]).endswith(".html"))
            return Bullets([_file(str(path), context, visible(str(key))) for key, path in files])
        if (
            declared.model is None
            and len(text := plain(value)) <= LINE
            and all(map(_is_short, value.values()))
        ):
            return Words(text)
        return Group(_filled(_items(value, declared.model, context, depth + 1)))
    if isinstance(value, list | tuple) and value and depth < MAX_DEPTH:
        return _listed(value, declared, context, depth, name)
    if isinstance(value, str):
        return _text(value, declared, context)
    return Words(worded(value, declared), is_number=isinstance(value, int | float))


def _text(value: str, declared: ShownField, context: RenderContext) -> Words | Prose | Changes | File:
    shown = declared.shown
    if shown.form == "diff" or (not shown.form and _UNIFIED.search(value)):
        return Changes(_view_of(value))
    if value in context.files or (shown.form == "file" and value and "://" not in value):
        return _file(value, context)
    if shown.form == "markdown" and value:
        return Prose(value, markdown=True)
    if value and (shown.form == "text" or len(value) > LINE or "\n" in value.strip()):
        # Line endings carry no meaning.
        return Prose(visible(value.replace("\r\n", "\n")))
    text = worded(value, declared)
    # An address is a link only if it leads exactly where it says.
    return Words(text, href=value if _ADDRESS.fullmatch(value) and text == value else "")


def _listed(
    values: Sequence[Any], declared: ShownField, context: RenderContext, depth: int, name: str
) -> Part:
    kept, more = values[: context.most], max(0, len(values) - context.most)
    if all(isinstance(each, dict) and not ref_of(each) for each in kept):
        groups = [_record(each, declared.model, context, depth) for each in kept]
        return _table(groups, more) or Records([Group(_filled(g.items), g.head) for g in groups], more)
    parts = [_part(each, declared, context, depth + 1, name) for each in kept]
    if len(parts) == 1 and not more:
        return parts[0]
    return Bullets(
        [
            each if isinstance(each, Words | Prose | File) else Words(plain(value))
            for each, value in zip(parts, kept, strict=True)
        ],
        more,
    )


def _record(
    value: Mapping[str, Any], kind: type[BaseModel] | None, context: RenderContext, depth: int
) -> Group:
    items = list(_items(value, kind, context, depth + 1))
    known = _fields(value, kind)
    head = next((each for each in items if each.name in known and known[each.name].shown.heading), None)
    return Group([each for each in items if each is not head], head)


def _table(groups: Sequence[Group], more: int) -> Table | None:
    """The records as a table; None if one is not like the others, or has more than short values."""
    records = [[*([group.head] if group.head else []), *group.items] for group in groups]
    columns = [each.label for each in records[0]]
    rows = [[each.part for each in record if isinstance(each.part, Words)] for record in records]
    if (
        len(records) == 1
        or not 0 < len(columns) <= COLUMNS
        or any([each.label for each in record] != columns for record in records)
    ):
        return None
    if any(len(row) < len(columns) or any(len(cell.text) > CELL for cell in row) for row in rows):
        return None
    return Table(columns, rows, more)


def _filled(items: Iterable[Item]) -> list[Item]:
    """The items of a record, without empty ones."""
    return [each for each in items if not isinstance(each.part, Words) or each.part.text != NONE]


def _is_short(value: Any) -> bool:
    return not isinstance(value, dict | list | tuple | str) or (
        isinstance(value, str) and len(value) <= CELL and "\n" not in value
    )


def _artifact(ref: ArtifactRef, declared: ShownField, name: str) -> File:
    called = declared.shown.file or f"{name.replace('_', '-') or 'text'}.txt"
    return File(visible(called), f"artifacts/{ref.sha256}/{quote(called, safe='')}", size_in_words(ref.size))


def _file(path: str, context: RenderContext, about: str = "") -> File | Words:
    name = path.rpartition("/")[2]
    if name not in context.files:
        return Words(visible(path if context.is_local else name))
    # For `report.html`, a description `html` would say nothing new.
    return File(visible(name), f"files/{quote(name, safe='')}", "" if name.endswith(f".{about}") else about)


def _names(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _names(each) for name, each in value.items()}
    if isinstance(value, list):
        return [_names(each) for each in value]
    return value.rpartition("/")[2] if isinstance(value, str) and "://" not in value else value
