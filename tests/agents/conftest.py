"""What `starter.py new` writes is tested before it is written: its template is a kind while its test runs."""

from __future__ import annotations

import pytest

from cli.new.template.kind import KIND
from common.agents.kinds import KINDS


@pytest.fixture(autouse=True)
def template_is_a_kind(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(KINDS, KIND.name, KIND)
