"""What is wrong with a value, in our own words."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pydantic import GetCoreSchemaHandler
from pydantic_core import core_schema


@dataclass(frozen=True)
class ErrorMessage:
    """Last in a type's annotations: the message for a value that those before it refuse.

    Pydantic would quote the pattern, which tells people nothing.
    """

    words: str

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> core_schema.CoreSchema:
        return core_schema.custom_error_schema(
            handler(source), custom_error_type="in_words", custom_error_message=self.words
        )
