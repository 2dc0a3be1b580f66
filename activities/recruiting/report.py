"""The recruiter's report as data, Markdown and HTML: how candidates were ranked, why, and what happened."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from activities.html.markdown import escaped
from activities.html.render import render
from activities.llm.records import OFFLINE
from activities.recruiting.candidacy import Candidacy
from activities.recruiting.ranking import weak_match
from activities.recruiting.records import CandidateRanking, Ranked, Reason, RecruitingReportRequest

_WHAT = {
    "asked": "the first letter went out",
    "followed_up": "the follow-up went out",
    "proposed": "times were proposed",
    "invited": "the invitation went out",
    "replied": "a reply went out",
    "yes": "said yes",
    "no": "said no",
    "slot": "took one of the times",
    "other_time": "wants another time",
    "question": "asked something",
    "unclear": "wrote what a person had to look at",
    "out_of_office": "is out of office",
    "bounce": "the letter came back",
}


@dataclass(frozen=True)
class CandidateLine:
    """One candidate in the report: the place in the ranking, the reasons, and what happened."""

    place: int
    ranked: Ranked
    course: Candidacy
    slot: str


@dataclass(frozen=True)
class RecruitingReport:
    """The content of the report."""

    request: RecruitingReportRequest
    ranking: CandidateRanking

    @property
    def lines(self) -> list[CandidateLine]:
        """Every candidate, best first."""
        return [
            CandidateLine(place, each, course, self._slot(course))
            for place, each in enumerate(self.ranking.candidates, 1)
            for course in [self.request.courses.get(each.id, Candidacy())]
        ]

    @property
    def counts(self) -> dict[str, int]:
        """The number of candidates by stage."""
        return dict(Counter(words(line.course.stage) for line in self.lines).most_common())

    @property
    def removed(self) -> str:
        """What was removed from the profiles, in a sentence: the categories, never the text."""
        if not self.ranking.removed:
            return "Nothing that tells of a protected attribute was found in the profiles."
        told = ", ".join(f"{category} ({count})" for category, count in sorted(self.ranking.removed.items()))
        return f"Taken out of the profiles before they were ranked: {told}."

    @property
    def author(self) -> str:
        """Who ranked, in words."""
        if self.ranking.model == OFFLINE:
            return (
                "by rules, offline (no language model): a requirement counts where a sentence holds its words"
            )
        return f"by rules, and the best of these by {self.ranking.model}"

    @property
    def lead(self) -> str:
        """How it went, in a sentence."""
        told = ", ".join(f"{count} {stage}" for stage, count in self.counts.items())
        weak = weak_match(self.ranking.role, self.ranking.candidates) if self.ranking.model == OFFLINE else ""
        return f"{len(self.ranking.candidates)} candidates: {told}." + (
            f" Weak match: {weak}." if weak else ""
        )

    def _slot(self, course: Candidacy) -> str:
        return "" if course.slot is None else self.request.slots[course.slot].in_words


def words(name: str) -> str:
    """The name of a stage, or of what happened, for people."""
    return _WHAT.get(name, name.replace("_", " "))


def place(reason: Reason) -> str:
    """Where a quote is in the stripped profile, in characters."""
    return f"characters {reason.start}-{reason.end}"


def html(report: RecruitingReport) -> str:
    """The report as one HTML page that loads nothing and runs nothing."""
    return render(
        "recruiting/page.html",
        title=report.ranking.role.title,
        eyebrow="Hibernaut · recruiter",
        report=report,
        words=words,
        place=place,
    )


def markdown(report: RecruitingReport) -> str:
    """The report as Markdown; what candidates wrote is escaped."""
    lines = [
        f"# {escaped(report.ranking.role.title)}",
        "",
        f"{escaped(report.lead)} {escaped(report.request.outcome)}: {escaped(report.request.decision)}.",
        "",
        f"Ranked {escaped(report.author)}. {escaped(report.removed)}",
        "",
        "## Candidates",
        "",
        "| | candidate | stands | must have | nice to have | interview |",
        "|-|-|-|-|-|-|",
    ]
    musts = len(report.ranking.role.must_have)
    nices = len(report.ranking.role.nice_to_have)
    for line in report.lines:
        ranked = line.ranked
        lines.append(
            f"| {line.place} | {escaped(ranked.name)} ({escaped(ranked.id)}) | {words(line.course.stage)} "
            f"| {ranked.musts} of {musts} | {ranked.nices} of {nices} | {escaped(line.slot)} |"
        )
    for line in report.lines:
        lines += [
            "",
            f"## {line.place}. {escaped(line.ranked.name)}",
            *_candidate(line, report.ranking.model),
        ]
    return "\n".join(lines) + "\n"


def _candidate(line: CandidateLine, model: str) -> list[str]:
    ranked = line.ranked
    lines = [""]
    if ranked.unread:
        lines.append(f"- not read: {escaped(ranked.unread)}")
    if ranked.words:
        lines.append(f"- {escaped(model)} says: {escaped(ranked.words)}")
    for reason in ranked.reasons:
        sort = "must have" if reason.must else "nice to have"
        lines.append(f"- {sort}, {escaped(reason.about)}: “{escaped(reason.quote)}” ({place(reason)})")
    lines += [f"- not found: {escaped(each)}" for each in ranked.missing]
    if line.course.happened:
        lines += ["", "What happened:", ""]
    for each in line.course.happened:
        told = f": “{escaped(each.told)}”" if each.told else ""
        lines.append(f"- {each.at:%Y-%m-%d %H:%M} UTC {words(each.what)}{told}")
    return lines
