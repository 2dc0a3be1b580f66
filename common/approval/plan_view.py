"""A plan as people see it: values in words, tables as tables, its diff as a diff."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from pydantic import JsonValue
from temporalio.exceptions import ApplicationError

from common.approval.diff_view import Diff, view_of
from common.artifacts import ArtifactRef, ArtifactStore
from common.visible_text import visible

# Larger diffs are not read for a page.
DIFF_BYTES = 16_000_000
# Fields of plans with words of whoever the plan's `model` names: a case, how something begins, a draft.
WRITTEN = frozenset({"case", "opening", "text"})
_AUTHOR = re.compile(r"offline|(?:openai|anthropic|bedrock):\S{1,200}")


@dataclass(frozen=True)
class ShownPlan:
    """A plan for people: its fields, and its diff if it has one."""

    fields: dict[str, JsonValue]
    diff: Diff | None

    @property
    def labels(self) -> dict[str, str]:
        """The label of each field; where a language model may have written it, it says which did."""
        return {name: label_in(self.fields, name) for name in self.fields}


def show_plan(plan: Mapping[str, Any], artifacts: ArtifactStore) -> ShownPlan:
    """The plan, with its diff fetched from the artifacts."""
    ref = ref_of(plan.get("diff"))
    fields = {name: value for name, value in plan.items() if not (ref and name == "diff")}
    # Bare references to artifacts come last.
    ordered = dict(sorted(fields.items(), key=lambda pair: ref_of(pair[1]) is not None))
    return ShownPlan(ordered, read_diff(ref, artifacts) if ref else None)


def ref_of(value: object) -> ArtifactRef | None:
    """``value`` as a reference to an artifact; None if it is not one."""
    if not isinstance(value, dict) or set(value) != {"sha256", "size"}:
        return None
    digest, size = value["sha256"], value["size"]
    # The digest becomes part of a path.
    if isinstance(digest, str) and re.fullmatch("[0-9a-f]{64}", digest) and isinstance(size, int):
        return ArtifactRef(sha256=digest, size=size)
    return None


def read_diff(ref: ArtifactRef, artifacts: ArtifactStore) -> Diff:
    """The diff that ``ref`` names, as a page shows it. Blocks; the last ones are remembered."""
    if ref.size > DIFF_BYTES:
        return Diff(missing=f"The diff has {ref.size:,} bytes, too many to show here.")
    try:
        return _read_diff(ref, artifacts)
    except (ApplicationError, OSError):
        return Diff(missing="The diff is not where the gateway looks for it, or it was changed on disk.")


@lru_cache(maxsize=64)
def _read_diff(ref: ArtifactRef, artifacts: ArtifactStore) -> Diff:
    return view_of(artifacts.get(ref).decode(errors="replace"))


def label_of(name: str) -> str:
    """A field's name as a label."""
    words = visible(name).replace("_", " ").strip()
    return words[:1].upper() + words[1:]


def label_in(plan: Mapping[str, Any], name: str) -> str:
    """A plan's field's label, with who wrote it where that may be a language model."""
    author = author_of(plan, name)
    return f"{label_of(name)}, by {author}" if author else label_of(name)


def author_of(plan: Mapping[str, Any], name: str) -> str:
    """Who wrote a field's text, in words; empty where it is no text that a language model is asked for."""
    model = plan.get("model")
    if name not in WRITTEN or not isinstance(model, str) or not plan.get(name):
        return ""
    names = model.split(", ")
    if not all(_AUTHOR.fullmatch(each) for each in names):
        return ""
    return ", ".join(
        "offline (no language model)" if each == "offline" else f"{visible(each)} (a language model)"
        for each in names
    )


def shape_of(value: object) -> str:
    """How to draw a value: `artifact`, `fields`, `table`, `list`, or `plain`."""
    if ref_of(value):
        return "artifact"
    if isinstance(value, dict):
        return "fields" if value else "plain"
    if isinstance(value, list | tuple) and value:
        if all(isinstance(each, dict) and set(each) == set(value[0]) for each in value):
            return "table"
        return "list"
    return "plain"


def plain(value: object) -> str:
    """A small value in words, with what is invisible in it spelled out."""
    if value is None or value in ([], {}, ()):
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int) and abs(value) >= 10_000:
        return f"{value:,}"
    if isinstance(value, dict):
        return ", ".join(f"{visible(str(name))}: {plain(each)}" for name, each in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(map(plain, value))
    text = visible(str(value))
    return text[:12] if re.fullmatch("[0-9a-f]{64}", text) else text
