"""Settings of a deployed worker: which build of which deployment it is, and where it answers probes."""

from __future__ import annotations

import re
from typing import Annotated, Self

from pydantic import PlainValidator, field_validator, model_validator

from common.settings.base import Group, Whole, setting
from common.settings.http import address_of


def _maybe_address(text: str) -> tuple[str, int] | None:
    return address_of(text) if text else None


class DeploymentSettings(Group):
    """A worker without `build` is unversioned. The CLI needs `name` only to choose among deployments."""

    name: str = setting(
        "TEMPORAL_DEPLOYMENT_NAME",
        "Name of the deployment that workers belong to (docs/upgrades.md). Empty: they are unversioned, and "
        "the command line looks at the deployment whose workers poll.",
    )
    build: str = setting(
        "TEMPORAL_WORKER_BUILD_ID",
        "The build that a worker runs, a version or a commit for example. Agents that begin on it end on it. "
        "Temporal's worker controller sets both; `worker.py --deployment-name --build-id` do so as well.",
    )
    most: Whole = setting(
        "HIBERNAUT_MAX_BUILDS",
        "How many builds of a deployment the server keeps: its `matching.maxVersionsInDeployment`. It "
        "accepts no workers of a further build; `versions` and `doctor` warn from 80 % on.",
        default="100",
    )
    health: Annotated[tuple[str, int] | None, PlainValidator(_maybe_address)] = setting(
        "HIBERNAUT_WORKER_HEALTH",
        "Where a worker answers probes over HTTP, `address:port`: `/healthz` whether it runs, `/readyz` "
        "whether it takes work. Empty: nowhere.",
    )

    @field_validator("name")
    @classmethod
    def _is_a_name(cls, text: str) -> str:
        # The server's own rules; quotes and backslashes could not be searched for.
        if not re.fullmatch(r"""(?!__)[^\s.:'"\\]{0,200}""", text):
            raise ValueError("give up to 200 characters without dots, colons, quotes or spaces")
        return text

    @field_validator("build")
    @classmethod
    def _is_a_build(cls, text: str) -> str:
        if not re.fullmatch(r"""(?!__)[^\s:'"\\]{0,200}""", text):
            raise ValueError("give up to 200 characters without colons, quotes or spaces")
        return text

    @model_validator(mode="after")
    def _has_a_deployment(self) -> Self:
        if self.build and not self.name:
            raise ValueError(
                "TEMPORAL_WORKER_BUILD_ID is set and TEMPORAL_DEPLOYMENT_NAME is not: name the deployment"
            )
        return self
