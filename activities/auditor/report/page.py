"""The report as one HTML page that loads nothing: text, charts, diffs and source, everything escaped."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from string import Template

from activities.auditor.current_findings import CurrentFindings
from activities.auditor.records import FindingGroup, ReportRequest, Severity, SkippedFile, get_records
from activities.auditor.report.charts import bar_chart, severity_strip
from activities.auditor.report.code import findings_section, fixes_section
from activities.auditor.report.facts import Facts, FixOutcome, fix_outcomes
from activities.html.markup import Html, join, tag
from activities.html.parts import badge, more, number, rule_link, size, table
from activities.llm.records import OFFLINE
from common.artifacts import ArtifactStore

# What the page shows of a giant audit: findings, groups, and names of files left out for one reason.
CAP, _GROUPS, _NAMES = 2000, 60, 100
_TEMPLATE = Path(__file__).with_name("page.html")


def page(
    store: ArtifactStore,
    request: ReportRequest,
    findings: CurrentFindings,
    facts: Facts,
    versions: Mapping[str, str],
) -> str:
    """The whole page. Source lines are read from the audited root, where it still is what was scanned."""
    outcomes = fix_outcomes(store, request)
    template = Template(_TEMPLATE.read_text(encoding="utf-8"))
    name = PurePosixPath(request.inventory.root).name or request.inventory.root
    return template.substitute(
        policy=_policy(template.template),
        title=join([f"Audit of {name}"]),
        header=_header(request, facts, versions, outcomes, name),
        first=_first(request),
        charts=_charts(facts),
        fixes=fixes_section(store, request, findings, outcomes),
        groups=_groups(store, request, facts),
        findings=findings_section(store, request, findings, facts, outcomes),
        left_out=_left_out(store, request),
    )


def _policy(template: str) -> str:
    """A Content-Security-Policy that lets the page's own style and script run, and nothing load."""

    def hashes(element: str) -> str:
        return " ".join(
            f"'sha256-{base64.b64encode(hashlib.sha256(body.encode()).digest()).decode()}'"
            for body in re.findall(f"<{element}>(.*?)</{element}>", template, re.DOTALL)
        )

    return (
        f"default-src 'none'; style-src {hashes('style')}; script-src {hashes('script')}; "
        "img-src data:; base-uri 'none'; form-action 'none'"
    )


def _header(
    request: ReportRequest, facts: Facts, versions: Mapping[str, str], outcomes: list[FixOutcome], name: str
) -> Html:
    inventory = request.inventory
    sentence = f"{number(inventory.files, 'file')} ({size(inventory.bytes)}) read, "
    sentence += f"{number(facts.total, 'finding')}. " if facts.total else "nothing found. "
    written = [o for o in outcomes if o.outcome == "written"]
    if written:
        mended = sum(sum(o.fix.rules.values()) for o in written)
        sentence += f"{number(mended, 'fix', 'es')} written to {number(len(written), 'file')}."
    elif outcomes:
        sentence += f"Fixes for {number(len(outcomes), 'file')} were planned, none was written."
    elif request.triage.fixable:
        sentence += f"{request.triage.fixable:,} of them have a safe fix; nothing was changed."
    failed = ", ".join(f"{analyser} ({count:,})" for analyser, count in sorted(facts.failed.items()))
    tiles = [
        tag(
            "a",
            tag("b", f"{facts.by_severity[severity]:,}"),
            tag("span", severity.value),
            href="#findings",
            class_=f"tile {severity}",
            data_only=severity.value,
        )
        for severity in Severity
    ]
    return join(
        [
            tag("p", "Hibernaut · code audit", class_="eyebrow"),
            tag("h1", name),
            tag("p", inventory.root, class_="root"),
            tag("p", sentence, class_="lead"),
            tag(
                "p",
                f"Some analysers failed on files, whose findings may be missing: {failed}.",
                class_="alarm",
            )
            if failed
            else "",
            tag("div", tiles, class_="tiles"),
            severity_strip(facts.by_severity),
            tag("p", "Analysers: " + " · ".join(f"{k} {v}" for k, v in versions.items()), class_="dim"),
        ]
    )


def _first(request: ReportRequest) -> Html:
    if not request.triage.top:
        return tag("p", "Nothing needs attention.", class_="dim")
    return tag("ol", (tag("li", sentence) for sentence in request.triage.top), class_="first")


def _charts(facts: Facts) -> Html:
    rules = {f"{rule} · {analyser}": counts for (analyser, rule), counts in facts.by_rule.items()}
    folders = {"(top folder)" if f == "." else f"{f}/": counts for f, counts in facts.by_folder.items()}
    return join(
        tag("figure", tag("figcaption", title), bar_chart(key, title, rows))
        for key, title, rows in (
            ("rules", "Findings by rule", rules),
            ("folders", "Findings by folder", folders),
        )
    )


def _groups(store: ArtifactStore, request: ReportRequest, facts: Facts) -> Html:
    triage = request.triage
    who = "offline analyst (no language model)" if triage.model == OFFLINE else triage.model
    records = list(get_records(store, triage.groups, FindingGroup))
    rows = (
        (
            [
                badge(g.severity),
                " ",
                rule_link(g.rule, facts.urls[g.analyser].get(g.rule, "")),
                f" {g.analyser}",
            ],
            tag("code", "(top folder)" if g.folder == "." else f"{g.folder}/"),
            f"{g.count:,}",
            f"{g.fixable:,}",
            tag("code", g.example),
            g.reason,
        )
        for g in records[:_GROUPS]
    )
    return join(
        [
            tag(
                "p",
                "By severity, then by spread, then by what people asked for. ",
                tag("b", f"ranked by: {who}"),
            ),
            table(("rule", "folder", "found", "fixable", "example", "why here"), rows),
            more(len(records) - _GROUPS, "groups"),
        ]
    )


def _left_out(store: ArtifactStore, request: ReportRequest) -> Html:
    skipped = {reason: count for reason, count in sorted(request.inventory.skipped.items()) if count}
    if not skipped:
        return tag("p", "No file was left out.", class_="dim")
    names: dict[str, list[str]] = {}
    for record in get_records(store, request.inventory.left_out, SkippedFile):
        of_reason = names.setdefault(record.reason, [])
        if len(of_reason) < _NAMES:
            of_reason.append(record.path)
    return join(
        tag(
            "details",
            tag("summary", tag("span", reason), tag("span", f"{count:,}", class_="dim")),
            tag("ul", (tag("li", tag("code", path)) for path in names.get(reason, []))),
            more(count - len(names.get(reason, [])), "names"),
            class_="file",
        )
        for reason, count in skipped.items()
    )
