"""How the agent is named in `common/agents/kinds.py`."""

from __future__ import annotations

from cli.new.template.inputs import TemplateInput
from common.agents.kinds import Kind

KIND = Kind(
    "template",
    "watches a folder, and deletes its old files once people approve",
    TemplateInput,
    "cli.new.template.workflow:TemplateAgent",
    activities="cli.new.template.activities:TemplateActivities",
)
