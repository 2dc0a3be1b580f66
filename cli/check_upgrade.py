"""`starter.py check-upgrade`: which open workflows would break with the code of this checkout, and how."""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Sequence

from pydantic import BaseModel
from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode

from cli.clients import open_client
from cli.open_runs import OpenRun, conditions, open_runs
from cli.output import CommandError, ExitCode, print_document, say
from cli.table import print_table
from cli.upgrade_check import Finding, UpgradeCheck, Verdict
from common.settings import Settings
from common.temporal.connect import data_converter

EXAMPLES = 3
TELL_EVERY_SECONDS = 5
UNVERSIONED = "unversioned"


class Checked(BaseModel, frozen=True):
    """An open run, its current node, and the outcome of its replay."""

    id: str
    run_id: str
    kind: str
    owner: str
    build: str
    at: str
    finding: Finding


class Report(BaseModel):
    """What `check-upgrade --json` prints.

    `open` counts the open workflows found, `checked` those replayed. `sample` is the most replayed per kind,
    node and build; null if all were. `breaks` cannot go on with this code, `unknown` could not be checked,
    and `slow` take over five seconds of CPU to wake.
    """

    open: int
    checked: int = 0
    sample: int | None
    breaks: list[Checked] = []
    unknown: list[Checked] = []
    slow: list[Checked] = []

    def add(self, checked: Checked) -> None:
        """Count a run, and file it by its finding."""
        self.checked += 1
        if checked.finding.verdict is Verdict.BREAKS:
            self.breaks.append(checked)
        elif checked.finding.verdict is Verdict.UNKNOWN:
            self.unknown.append(checked)
        if checked.finding.is_slow:
            self.slow.append(checked)

    @property
    def is_safe(self) -> bool:
        """Whether nothing checked speaks against deploying this code."""
        return not self.breaks and not self.unknown


async def check_upgrade(
    settings: Settings, kind: str | None, owner: str | None, sample: int | None, *, as_json: bool
) -> ExitCode:
    """Replay open workflows with this code, all or a sample, and print those that could not go on."""
    # Silence the SDK's replay errors: each is reported below in one line.
    logging.getLogger("temporalio").setLevel(logging.CRITICAL + 1)
    client = await open_client(settings)
    runs, count = await open_runs(client, conditions(settings, kind, owner), sample)
    report, told = Report(open=count, sample=sample), time.monotonic()
    async with UpgradeCheck(data_converter(settings, writes=False), client.namespace) as check:
        if kind and not count and kind not in check.kinds:
            known = ", ".join(sorted(check.kinds))
            raise CommandError(f"no open workflow is of the kind {kind}; this code has {known}.")
        for run in runs:
            finding = await _examined(client, check, run)
            if finding is None:
                continue  # it has closed in the meantime
            found = {"id": run.id, "run_id": run.run_id, "kind": run.kind, "owner": run.owner}
            report.add(Checked(**found, build=run.build, at=run.node, finding=finding))
            if time.monotonic() - told >= TELL_EVERY_SECONDS:
                told = time.monotonic()
                say(f"{report.checked} checked, {len(report.breaks)} of them would break …")
    if as_json:
        print_document(report)
    else:
        _print(report)
    return ExitCode.DONE if report.is_safe else ExitCode.AGENT_FAILED


async def _examined(client: Client, check: UpgradeCheck, run: OpenRun) -> Finding | None:
    """Replay a run; None if it is gone."""
    if run.kind not in check.kinds:
        return check.of_unknown_kind(run.kind)
    try:
        history = await client.get_workflow_handle(run.id, run_id=run.run_id).fetch_history()
    except RPCError as error:
        if error.status is RPCStatusCode.NOT_FOUND:
            return None
        raise
    return await check.examine(history)


def _print(report: Report) -> None:
    """Print the groups of breaks on stdout, and on stderr what was checked and what to do."""
    columns = ["KIND", "NODE", "BUILD", "WORKFLOWS", "WHAT"]
    for title, found in (("", report.breaks), ("not found out:", report.unknown), ("slow:", report.slow)):
        if found:
            if title:
                print(title)
            print_table(columns, _rows(found))
    how = ""
    if report.sample is not None and report.checked < report.open:
        how = f" (at most {report.sample} of each kind, node and build; --all checks every one)"
    say(f"{report.checked} of {report.open} open workflows replayed{how}.")
    if report.is_safe:
        say("none of them would break with this code.")
        return
    if report.breaks:
        say(f"{len(report.breaks)} would break: docs/upgrades.md tells how to patch, so that they go on.")
    if report.unknown:
        say(f"of {len(report.unknown)} it could not be checked; that counts as a break.")


def _rows(found: Sequence[Checked]) -> list[list[str]]:
    """One row per group of like findings; findings that differ only in digests are alike."""
    alike: dict[tuple[str, str, str, str], list[str]] = {}
    for each in found:
        what = (
            re.sub(r"/[0-9a-f]{12}\b", "", each.finding.why) or f"{each.finding.seconds:.1f} s of CPU to wake"
        )
        if each.finding.event:
            what = f"event {each.finding.event}: {what}"
        key = each.kind, each.finding.node or each.at, each.build or UNVERSIONED, what
        alike.setdefault(key, []).append(each.id)
    return [
        [kind, node, build, ", ".join(ids[:EXAMPLES]) + _more(len(ids) - EXAMPLES), what]
        for (kind, node, build, what), ids in alike.items()
    ]


def _more(count: int) -> str:
    return f" and {count} more" if count > 0 else ""
