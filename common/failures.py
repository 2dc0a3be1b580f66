"""Errors in an agent's code in plain words: where they were raised, and what to write instead."""

from __future__ import annotations

import re

# The SDK sandbox's message for a call that would not be deterministic in a replay.
_RESTRICTED = re.compile(
    r"Cannot access ([\w.]+?)(\.__call__)? from inside a workflow\.( If this .*?pass through\.)?"
)
_INSTEAD = (
    (r"datetime\.(.*\.)?(now|utcnow|today)|time\.(?!sleep)", "use workflow.now()"),
    (r"time\.sleep", "wait with `await self.hibernate(…)`"),
    (r"random\.", "use workflow.random()"),
    (r"uuid\.", "use workflow.uuid4()"),
)
_OUTSIDE = "do that in an activity, called by `await self.call(…)`"
_DEADLOCK = re.compile(r"\[TMPRL1101\].*? within (\d+) second\(s\)\.?")
# A place in the traceback of an agent; the rest of a path is this machine's own.
_PLACE = re.compile(r'File "(?:[^"]*/)?((?:workflows|activities|common|tests)/[^"]*)", line (\d+)')


def advice(words: str) -> str:
    """`words` of an error; where the SDK's sandbox stopped an agent, with what to write instead."""
    if found := _DEADLOCK.search(words):
        loop = (
            f"the code did not `await` anything for {found[1]} s: a loop without end, or work for an activity"
        )
        return words[: found.start()] + loop + words[found.end() :]
    if found := _RESTRICTED.search(words):
        name = found[1]
        instead = next((said for known, said in _INSTEAD if re.match(known, name)), _OUTSIDE)
        return f"{words[: found.start()]}no agent may use {name}: {instead}{words[found.end() :]}"
    return words


def code_place(trace: str) -> str:
    """Where a traceback leads, as ` (workflows/tidy.py:31)`; the agent's own line before one of the kit."""
    places = _PLACE.findall(trace)
    own = [each for each in places if not each[0].startswith(("workflows/core/", "common/"))] or places
    return f" ({own[-1][0]}:{own[-1][1]})" if own else ""
