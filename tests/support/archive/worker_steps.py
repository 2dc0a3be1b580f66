"""The steps at which the archivist's worker is killed, in the order in which it comes to them."""

from __future__ import annotations

_WRITES = ("view", "history", "payload", "record", "index", "manifest")

# What is copied of an agent changes nothing until its record is there: the last object stands for all.
CI_STEPS = (
    *(f"after-put-{kind}" for kind in ("payload", "record", "index", "manifest")),
    "after-anchor",
    "before-delete-run",
    "after-delete-run",
    "after-delete-original",
)
SOAK_STEPS = (
    *(f"{when}-put-{kind}" for kind in _WRITES for when in ("before", "after")),
    *("before-anchor", "after-anchor"),
    *("before-delete-run", "after-delete-run", "before-delete-original", "after-delete-original"),
)
