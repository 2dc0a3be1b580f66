"""What servers of language models say of requests that they do not take."""

from __future__ import annotations

import pytest
from pydantic_ai.exceptions import ModelHTTPError

from activities.llm.failures import classify_failure


@pytest.mark.parametrize(
    ("said", "too_long"),
    [
        ("Prompt exceeds max length", True),
        ("The total number of tokens in the request (9000) is above the limit 8192", True),
        ("The number of tokens to keep from the initial prompt is greater than the context length", True),
        ("Range of input length should be [1, 30720]", True),
        ("The prompt has 9000 tokens but only 8192 fit", True),
        ("Messages have 9000 tokens, which exceeds the max limit of 8192 tokens.", True),
        ("max_prompt_tokens_exceeded", True),
        ("context_window_exceeded", True),
        ("max_tokens is too large: 100000. This model supports at most 16384 completion tokens", False),
        ("temperature exceeds the maximum of 2", False),
        ("image exceeds 5 MB maximum", False),
        ("prompt_cache_key is too long", False),
    ],
)
def test_a_request_that_does_not_fit_is_told_from_a_wrong_one(said: str, too_long: bool) -> None:
    """In the words of servers that each say it in their own way."""
    failure = classify_failure(ModelHTTPError(400, "small", {"message": said}), "openai:small", 1)
    assert (failure.too_long, failure.type == "ContextTooLong") == (too_long, too_long)
