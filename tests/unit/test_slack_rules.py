"""Slack's rules without Slack: settings, texts that fit, what comes once."""

from __future__ import annotations

import html

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from activities.delivery.slack_blocks import fit
from common.settings import Settings, SettingsError
from gateway.limits import ReplayGuard

TOKENS = {"HIBERNAUT_SLACK_BOT_TOKEN": "xoxb-1", "HIBERNAUT_SLACK_SIGNING_SECRET": "s"}


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"HIBERNAUT_SLACK_BOT_TOKEN": "xapp-1"}, "HIBERNAUT_SLACK_BOT_TOKEN"),
        ({"HIBERNAUT_SLACK_APP_TOKEN": "xoxb-1"}, "HIBERNAUT_SLACK_APP_TOKEN"),
        ({"HIBERNAUT_SLACK_BOT_TOKEN": ""}, "HIBERNAUT_SLACK_SIGNING_SECRET is set"),
        ({"HIBERNAUT_SLACK_API": "http://slack.example/api"}, "HIBERNAUT_SLACK_API"),
    ],
)
def test_a_setting_that_cannot_be_used_is_named(changes: dict[str, str], named: str) -> None:
    """And no token is shown, neither in the error nor in what is printed of the settings."""
    with pytest.raises(SettingsError, match=named) as caught:
        Settings.read({**TOKENS, **changes})
    assert "xoxb-1" not in str(caught.value)
    assert "xoxb-1" not in repr(Settings.read(TOKENS))


@pytest.mark.parametrize(
    ("api", "hooks"),
    [
        ("", "https://hooks.slack.com"),
        ("https://slack-gov.com/api", "https://hooks.slack-gov.com"),
        ("http://127.0.0.1:8123/api/", "http://127.0.0.1:8123"),
    ],
)
def test_answers_go_beside_the_api(api: str, hooks: str) -> None:
    """Slack's `response_url`s lead to one origin, by which API is used."""
    slack = Settings.read({**TOKENS, "HIBERNAUT_SLACK_API": api}).slack
    assert slack.hooks == hooks
    assert slack.api.endswith("/api/")


@given(st.text(), st.integers(8, 60))
@example("000000\n00", 8)
def test_a_text_fits_and_says_what_was_said(text: str, limit: int) -> None:
    """Never empty or too long as browsers count, nothing of it parsed, no half of an escaped sign."""
    shown = fit(text, limit)
    assert 1 <= len(shown.encode("utf-16-le")) // 2 <= limit
    assert not set(shown) & set("<>")
    whole = fit(text, 10_000)
    assert shown == whole or (len(shown) > 1 and shown.endswith("…"))
    assert whole.startswith(shown.removesuffix("…"))
    assert not text.isprintable() or html.unescape(whole) == (text or "–")
    assert "&" not in shown.replace("&amp;", "").replace("&lt;", "").replace("&gt;", "")


def test_what_came_comes_once() -> None:
    """Until so much else came that it could come no more in time."""
    seen = ReplayGuard(capacity=2)
    assert [seen.first(each) for each in ("a", "a", "b", "a", "b", "c", "a")] == [
        *(True, False, True, False, False, True, True)
    ]
