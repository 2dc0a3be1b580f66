"""The recruiter's report as one HTML page that loads nothing and runs nothing; everything is escaped."""

from __future__ import annotations

from activities.html.markup import Html, join, tag
from activities.html.parts import table
from activities.recruiting.report import Line, Report, place, words
from activities.research.page import page


def html(report: Report) -> str:
    """The whole page."""
    return page(
        title=report.ranking.role.title,
        eyebrow="Hibernaut · recruiter",
        header=[
            tag("p", f"{report.lead} {report.request.outcome}: {report.request.decision}."),
            tag("p", f"Ranked {report.author}. {report.removed}", class_="dim"),
        ],
        main=[tag("h2", "Candidates"), _table(report), *map(_candidate, report.lines)],
    )


def _table(report: Report) -> Html:
    musts, nices = len(report.ranking.role.must_have), len(report.ranking.role.nice_to_have)
    rows = (
        (
            str(line.place),
            f"{line.ranked.name} ({line.ranked.id})",
            words(line.course.stage),
            f"{line.ranked.musts} of {musts}",
            f"{line.ranked.nices} of {nices}",
            line.slot,
        )
        for line in report.lines
    )
    return table(("", "candidate", "stands", "must have", "nice to have", "interview"), rows)


def _candidate(line: Line) -> Html:
    ranked = line.ranked
    why = [tag("p", ranked.unread), tag("p", ranked.words)] if ranked.unread or ranked.words else []
    reasons = (
        tag(
            "figure",
            tag("p", f"{'Must have' if reason.must else 'Nice to have'}: {reason.about}"),
            tag("blockquote", f"“{reason.quote}”", data_start=reason.start, data_end=reason.end),
            tag("cite", place(reason)),
        )
        for reason in ranked.reasons
    )
    missing = (
        tag("p", f"Not found: {', '.join(ranked.missing)}", class_="dim") if ranked.missing else Html("")
    )
    happened = (
        tag("li", f"{each.at:%Y-%m-%d %H:%M} UTC {words(each.what)}", f": “{each.told}”" if each.told else "")
        for each in line.course.happened
    )
    return join([tag("h3", f"{line.place}. {ranked.name}"), *why, *reasons, missing, tag("ul", happened)])
