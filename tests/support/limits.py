"""Server limits for tests: `DevServer(…, limits=…)`."""

from __future__ import annotations

from testing.fixtures import AFRESH_AT_ONCE as AFRESH_AT_ONCE
from testing.fixtures import QUICK_TASKS as QUICK_TASKS

# The server deletes a closed workflow only after it has saved its progress, by default every 30 s.
QUICK_DELETION = {
    "history.transferProcessorUpdateAckInterval": '"200ms"',
    "history.visibilityProcessorUpdateAckInterval": '"200ms"',
}


def short_histories(events: int) -> dict[str, str]:
    """Suggest continue-as-new after this many events."""
    return {"limit.historyCount.suggestContinueAsNew": str(events)}


# Look for due timers immediately. The default is within a second, and time skipping waits that long at each.
QUICK_TIMERS = {"history.timerProcessorMaxTimeShift": '"10ms"'}

# Check every second, not every three minutes, whether a build has drained. Polls end early and are forgotten
# early, so that a stopped worker is forgotten early, too.
QUICK_ROLLOUTS = {
    "matching.wv.VersionDrainageStatusVisibilityGracePeriod": '"1s"',
    "matching.wv.VersionDrainageStatusRefreshInterval": '"1s"',
    "matching.longPollExpirationInterval": '"1s"',
    "matching.PollerHistoryTTL": '"4s"',
    "matching.maxVersionsInDeployment": "2",
}
