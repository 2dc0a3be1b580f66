"""Formats a rehearsal as lines of text."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping

from pydantic import JsonValue

from cli.output import clean
from cli.rehearsal.story import EndState, Entry, EntryKind, Rehearsed
from common.approval.types import short_text
from common.approval.values import ref_of
from common.grammar import rounded

PLAN_FIELDS, MAX_WORDS = 12, 160


def lines_of(rehearsed: Rehearsed) -> list[str]:
    """What the agent would do, in order, and which of it was not done."""
    lines = [headline(rehearsed), ""]
    several = len({each.agent for each in rehearsed.timeline}) > 1
    asked: list[object] = []
    for entry in rehearsed.timeline:
        lines.append(_entry_line(entry, several=several))
        told = list(plan_in_words(entry.also or {}))
        if entry.plan is not None:
            told += ["as it was asked"] if entry.plan in asked else plan_in_words(entry.plan)
            asked.append(entry.plan)
        lines += [f"{'':<30}{line}" for line in told]
    lines += ["", f"would     {counted(rehearsed)}", f"costs     {cost_in_words(rehearsed)}"]
    lines += [f"not run   {each}" for each in stand_ins_in_words(rehearsed)]
    if rehearsed.run:
        lines.append("run       " + ", ".join(f"{name} x{n}" for name, n in rehearsed.run.items()))
    if rehearsed.failure:
        lines.append(f"failure   {rehearsed.failure}")
    if rehearsed.result is not None:
        lines.append(f"result    {json.dumps(rehearsed.result, ensure_ascii=False)}")
    return [clean(line) for line in lines]


def headline(rehearsed: Rehearsed) -> str:
    """How long it lived, how that ended, and how long it took, in one line."""
    how = f"{rehearsed.ended.in_words}: {rehearsed.status}"
    if rehearsed.ended is not EndState.AGENT:
        how = f"{rehearsed.ended.in_words}; it waits for {waits_for(rehearsed)}"
    return f"{rehearsed.kind}: {rounded(rehearsed.simulated)} in {rehearsed.seconds:g} s; {how}"


def waits_for(rehearsed: Rehearsed) -> str:
    """What it waits for at the end, without digests."""
    waited = rehearsed.waiting_for or "nothing: it works"
    return "an approval" if waited.startswith("approval ") else waited


def counted(rehearsed: Rehearsed) -> str:
    """How often it wakes, asks, tells and acts."""
    asks, tells, does = (
        len(rehearsed.of(what)) for what in (EntryKind.ASKS, EntryKind.TELLS, EntryKind.ACTS)
    )
    return f"wake {rehearsed.wakes}x, ask {asks}x, tell people {tells}x, act {does}x"


def cost_in_words(rehearsed: Rehearsed) -> str:
    """The estimated tokens and money."""
    cost = rehearsed.cost
    if not cost.input_tokens:
        return "nothing: no language model would be asked"
    tokens = f"{cost.input_tokens:,} tokens read, {cost.output_tokens:,} written"
    return f"about {cost.usd:.4f} USD ({tokens}; estimated, no model was asked)"


def stand_ins_in_words(rehearsed: Rehearsed) -> Iterator[str]:
    """The activities that were not run, and why."""
    for each in rehearsed.stand_ins:
        times = f" x{each.times}" if each.times > 1 else ""
        yield f"{each.activity}{times}: {each.how}, {each.why}"


def plan_in_words(plan: Mapping[str, JsonValue]) -> Iterator[str]:
    """The non-empty fields of a plan, shortened, a line each."""
    for name, value in list(plan.items())[:PLAN_FIELDS]:
        if value not in (None, "", [], {}):
            yield f"{name}: {brief(value)}"


def brief(value: JsonValue) -> str:
    """A value in one line: names and values of its parts, and only the size of stored data."""
    text = _said(value)
    return text if len(text) <= MAX_WORDS else text[: MAX_WORDS - 1] + "…"


def _said(value: JsonValue) -> str:
    if isinstance(value, list):
        return "; ".join(map(_said, value))
    if not isinstance(value, dict):
        return short_text(value)
    if ref := ref_of(value):
        return f"{ref.size:,} bytes, stored"
    parts = ((name, part) for name, part in value.items() if part not in (None, "", [], {}))
    return ", ".join(f"{name} {_said(part)}" for name, part in parts)


def _entry_line(entry: Entry, *, several: bool) -> str:
    times = f" ({entry.times} times, the last {entry.until:%Y-%m-%d %H:%M})" if entry.until else ""
    to = f"  [{', '.join(entry.to)}]" if entry.to else ""
    who = f"{entry.agent}: " if several else ""
    return f"{entry.at:%a %Y-%m-%d %H:%M}  {entry.what:<7} {who}{entry.words}{times}{to}"
