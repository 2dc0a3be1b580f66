"""The server's limits as tests need them: `DevServer(…, limits=…)`."""

from __future__ import annotations

from testing.fixtures import AFRESH_AT_ONCE as AFRESH_AT_ONCE
from testing.fixtures import QUICK_TASKS as QUICK_TASKS

# The server deletes what closed a moment ago only once it has noted how far it got, every 30 s by default.
QUICK_DELETION = {
    "history.transferProcessorUpdateAckInterval": '"200ms"',
    "history.visibilityProcessorUpdateAckInterval": '"200ms"',
}


def short_histories(events: int) -> dict[str, str]:
    """A fresh history is suggested after so many events."""
    return {"limit.historyCount.suggestContinueAsNew": str(events)}


# Timers are looked for at once; by default within a second, which time skipping waits out at each.
QUICK_TIMERS = {"history.timerProcessorMaxTimeShift": '"10ms"'}

# It is looked every second whether a build has drained, not every three minutes; and a poll ends soon and is
# soon forgotten, so that a worker that has ended is.
QUICK_ROLLOUTS = {
    "matching.wv.VersionDrainageStatusVisibilityGracePeriod": '"1s"',
    "matching.wv.VersionDrainageStatusRefreshInterval": '"1s"',
    "matching.longPollExpirationInterval": '"1s"',
    "matching.PollerHistoryTTL": '"4s"',
    "matching.maxVersionsInDeployment": "2",
}
