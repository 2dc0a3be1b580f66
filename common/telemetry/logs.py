"""How worker and gateway log: text, or JSON with one object a line, which names the agent. Never secrets."""

from __future__ import annotations

import json
import logging
import re
from datetime import UTC, datetime
from typing import Any

from temporalio import activity, workflow

from common.settings import Settings

TEXT = "%(asctime)s %(levelname)s %(name)s: %(message)s"
BLACKED_OUT = "***"


def open_logs(settings: Settings) -> None:
    """Log warnings and errors to stderr, in the format of the settings."""
    as_json = settings.telemetry.log == "json"
    handler = logging.StreamHandler()
    handler.setFormatter(
        RedactingFormatter(JsonLines() if as_json else logging.Formatter(TEXT), settings.secrets)
    )
    logging.basicConfig(level=logging.WARNING, handlers=[handler])
    # In JSON, this information has its own fields.
    activity.logger.activity_info_on_message = not as_json
    workflow.logger.workflow_info_on_message = not as_json


class RedactingFormatter(logging.Formatter):
    """Formats like another formatter, with secrets blacked out, even in errors of libraries."""

    def __init__(self, inner: logging.Formatter, secrets: frozenset[str]) -> None:
        super().__init__()
        self._inner = inner
        # The longest first: it may contain a shorter one.
        words = sorted({*secrets, *(json.dumps(each)[1:-1] for each in secrets)}, key=len, reverse=True)
        self._secret = re.compile("|".join(map(re.escape, words)) or r"(?!)")

    def format(self, record: logging.LogRecord) -> str:
        """One record as text."""
        return self._secret.sub(BLACKED_OUT, self._inner.format(record))


class JsonLines(logging.Formatter):
    """A record as a JSON object in one line; docs/operations.md has its fields."""

    def format(self, record: logging.LogRecord) -> str:
        """One record as text."""
        fields = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **_where(),
        }
        if record.exc_info and record.exc_info[0]:
            fields["error"] = record.exc_info[0].__name__
            fields["stack"] = self.formatException(record.exc_info)
        return json.dumps(fields, ensure_ascii=False, default=str)


def _where() -> dict[str, Any]:
    """The agent, and its activity, that this record is about."""
    if activity.in_activity():
        info = activity.info()
        # An activity's id begins with the agent's node.
        return {
            "agent": info.workflow_id,
            "run": info.workflow_run_id,
            "kind": info.workflow_type,
            "node": info.activity_id.partition("/")[0],
            "activity": info.activity_type,
            "attempt": info.attempt,
        }
    if workflow.in_workflow():
        own = workflow.info()
        return {"agent": own.workflow_id, "run": own.run_id, "kind": own.workflow_type}
    return {}
