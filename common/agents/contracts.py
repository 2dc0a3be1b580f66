"""What entry points share of the contract auditor: inputs, the plan a human approves, memory, results."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from pydantic import BaseModel, Field
from pydantic.json_schema import SkipJsonSchema

from common.agents.agent import ThinkerInput
from common.agents.asking import AskingInput
from common.agents.fields import Count, LocalPath, Words
from common.artifacts import ArtifactRef


class Severity(StrEnum):
    """How much a finding matters, worst first."""

    HIGH = "high"
    MEDIUM = "medium"
    LOW = "low"


class Verdict(StrEnum):
    """What becomes of a contract or a finding, worst first."""

    NOT_ACCEPTABLE = "not acceptable"
    NEEDS_HUMAN = "needs a human"
    OK = "ok"
