"""The steps at which the archivist's worker is killed, in the order it reaches them."""

from __future__ import annotations

_WRITES = ("view", "history", "payload", "record", "index", "manifest")

# An agent's copied objects count only once its record exists, so the last one stands for all.
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
