"""Lets the agents of a test use any folder, as an operator would."""

from __future__ import annotations

import json
from pathlib import Path


def open_all(data: Path) -> None:
    """Name the whole disk as the root of everybody; the data folder itself stays closed."""
    data.mkdir(parents=True, exist_ok=True)
    (data / "roots.json").write_text(json.dumps({"*": ["/"]}))
