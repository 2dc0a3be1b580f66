"""Validates documents against their JSON schemas."""

from __future__ import annotations

from typing import Any


def flaws(schema: dict[str, Any], document: object, draft: int = 7) -> list[str]:
    """How the document violates its schema."""
    # Imported late: it builds parsers on import, over a second for every test process.
    import jsonschema

    validator = getattr(jsonschema, f"Draft{draft}Validator")(schema)
    return [error.message for error in validator.iter_errors(document)]
