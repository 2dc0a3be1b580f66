"""Documents and their JSON schemas."""

from __future__ import annotations

from typing import Any


def flaws(schema: dict[str, Any], document: object, draft: int = 7) -> list[str]:
    """In what the document is not as its schema wants it."""
    # Not at the top: it builds parsers when it is imported, over a second for every worker that collects.
    import jsonschema

    validator = getattr(jsonschema, f"Draft{draft}Validator")(schema)
    return [error.message for error in validator.iter_errors(document)]
