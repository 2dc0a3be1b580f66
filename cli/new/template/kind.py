"""How the agent is named in `common/agents/kinds.py`."""

from __future__ import annotations

from cli.new.template.inputs import TemplateInput
from common.agents.kinds import Kind

KIND = Kind(
    "template",
    "watches a folder, and deletes what has grown old in it on a human's yes",
    TemplateInput,
    "cli.new.template.workflow:TemplateAgent",
    activities="cli.new.template.activities:TemplateActivities",
)
