"""Search criteria for agents: the options of `find` and `list`, and the query parameters of `/agents`."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Literal, Self

from pydantic import BaseModel, Field, ValidationInfo, field_validator, model_validator

from common.agents.states import AgentState, RunStatus
from common.grammar import parse_moment, zone_named

FilterText = Annotated[str, Field(min_length=1, max_length=200)]


class AgentFilter(BaseModel, frozen=True):
    """Criteria; those not given match every agent. Times are read as in `common/grammar.py`."""

    kind: FilterText | None = Field(None, description="Only this kind.")
    owner: FilterText | None = Field(None, description="Only this owner's.")
    state: AgentState | None = Field(None, description="Only running agents in this state.")
    status: RunStatus | None = Field(None, description="Only agents with this status.")
    batch: FilterText | None = Field(None, description="Only of this batch.")
    top: bool = Field(False, description="Leave out running agents that do an item of a batch.")
    node: FilterText | None = Field(
        None, description="At this node; archived agents: ever at it. With stuck: stuck there."
    )
    stuck: bool = Field(False, description="That got stuck, between since and until if given.")
    zone: FilterText | None = Field(
        None, description="Time zone of since and until, as in Europe/Vienna; else this machine's."
    )
    since: datetime | None = Field(
        None, description="Alive then or later: yesterday, 2h, 3 days ago, 2026-11-22, 2026-11-22T14:30."
    )
    until: datetime | None = Field(None, description="Alive before then, in the same format.")
    text: FilterText | None = Field(
        None, description="With these words in notebook or final state; case is ignored."
    )
    troubled: bool = Field(False, description="Only blocked running agents, each with why and what to do.")
    where: Literal["live", "archived"] | None = Field(
        None, description="Only in Temporal (live) or only in the archive; else in both."
    )

    @field_validator("zone")
    @classmethod
    def _there_is(cls, zone: str | None) -> str | None:
        if zone is not None:
            zone_named(zone)
        return zone

    @field_validator("state", "status", mode="before")
    @classmethod
    def _not_the_other(cls, value: object, found: ValidationInfo) -> object:
        other = RunStatus if found.field_name == "state" else AgentState
        if isinstance(value, str) and value in set(other):
            what, name = ("status", "state") if other is RunStatus else ("state", "status")
            raise ValueError(f"{value} is a {what}, not a {name}: ask for {what} {value}")
        return value

    @field_validator("since", "until", mode="before")
    @classmethod
    def _in_words(cls, value: object, found: ValidationInfo) -> object:
        if not isinstance(value, str):
            return value
        zone = found.data.get("zone")
        return parse_moment(value, datetime.now(UTC), zone_named(zone) if zone else None)

    @model_validator(mode="after")
    def _can_be(self) -> Self:
        if self.troubled and (self.where == "archived" or self.status not in (None, RunStatus.RUNNING)):
            raise ValueError("only running agents are in trouble: ask for troubled ones, or for closed ones")
        if self.state and self.status not in (None, RunStatus.RUNNING):
            raise ValueError(f"only running agents are in a state: leave out {self.state}, or {self.status}")
        if self.since and self.until and self.since >= self.until:
            raise ValueError(f"since, {self.since:%Y-%m-%d %H:%M} UTC, is not before until")
        return self

    @property
    def live(self) -> bool:
        """Whether to look in Temporal."""
        return self.where != "archived"

    @property
    def archived(self) -> bool:
        """Whether to look in the archive."""
        return self.where != "live" and not self.troubled
