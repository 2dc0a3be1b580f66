"""Operator policies for tests: one without requirements, and any that a test writes."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from temporalio.activity import Info
from temporalio.testing import ActivityEnvironment

from common.approval.floors import ALONE, Floors, Policy
from common.approval.groups import Directory
from common.settings.models import ModelSettings


def floors(
    *rules: dict[str, Any], groups: Path = Path("no-such-file"), budgets: ModelSettings | None = None
) -> Floors:
    """The floors of a policy with these rules; without rules, of one without requirements."""
    policy = Policy.model_validate({"rules": rules}) if rules else Policy.model_validate_json(ALONE)
    return Floors(lambda: policy, Directory(groups), budgets)


def action(agent: str, kind: str = "errand") -> Info:
    """The info of an activity of ``agent`` that is about to act."""
    return dataclasses.replace(ActivityEnvironment().info, workflow_id=agent, workflow_type=kind)
