"""The recruiter's activities that send nothing: ranking, drafts, calendars and the report."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from urllib.parse import quote

from temporalio import activity

from activities.documents.documents import MAX_BYTES, MEDIA_TYPES, DocumentText
from activities.llm.records import OFFLINE, LanguageModel
from activities.mail.letters import with_links
from activities.recruiting.calendar_file import busy_slots_apart
from activities.recruiting.choices import interested, times
from activities.recruiting.invitations import invitation
from activities.recruiting.letters import LetterBook, book_of, sample_slots
from activities.recruiting.protected import strip
from activities.recruiting.ranking import Profile, rank, weak_match
from activities.recruiting.records import (
    BusySlots,
    CalendarRequest,
    CandidateRanking,
    DraftedLetters,
    DraftInvitations,
    DraftLetters,
    LetterKind,
    Outgoing,
    RankingDone,
    RankRequest,
    RecruitingReportRequest,
    ReportWritten,
)
from activities.recruiting.report import RecruitingReport, html, markdown
from activities.safe_files import PathSkippedError, read_inside
from common.agent_files import AgentFiles
from common.agents.agent import Progress
from common.agents.recruiter import Candidate, InvitationPlan, OutreachPlan, Sample
from common.artifacts import ArtifactStore
from common.mail import Choice

SAMPLES, NAMED = 3, 50
MAX_PROFILE = 100_000
# Stands for a link in drafts: the real address exists only in the letter itself.
LINK = "<a link of this letter's own>"


class RecruitingActivities:
    """The activities that work on candidates and send nothing.

    Args:
        artifacts: stores rankings and letters.
        model: ranks; the offline analyst or a language model.
        text_of: extracts the text from a file's bytes, given its media type.
        files: stores drafts and reports.
        folder: where people find them on this machine.
        links: whether letters contain links to answer with, so that drafts show them.
    """

    def __init__(
        self,
        artifacts: ArtifactStore,
        model: LanguageModel,
        text_of: Callable[[bytes, str], DocumentText],
        files: AgentFiles,
        folder: Path,
        links: bool = False,
    ) -> None:
        self._artifacts = artifacts
        self._model = model
        self._text_of = text_of
        self._files = files
        self._folder = folder
        self._links = links

    @activity.defn(name="rank_candidates")
    def rank_candidates(self, request: RankRequest) -> RankingDone:
        """Remove protected attributes from the profiles, then rank them for the role."""
        removed: Counter[str] = Counter()
        profiles = []
        for number, each in enumerate(request.candidates, 1):
            text, unread = self._profile(each, request.profiles)
            stripped = strip(text, each.name, each.email)
            removed.update({str(category): count for category, count in stripped.removed.items()})
            profiles.append(Profile(number, each.id, each.name, stripped.text, unread))
            activity.heartbeat(Progress(done=number, total=len(request.candidates)))
        ranked, reply = rank(request.role, profiles, self._model)
        ranking = CandidateRanking(
            role=request.role, model=reply.model, candidates=tuple(ranked), removed=dict(removed)
        )
        return RankingDone(
            ranking=self._artifacts.put(ranking.model_dump_json().encode()),
            order=tuple(each.id for each in ranked),
            removed=ranking.removed,
            unread=sum(bool(each.unread) for each in profiles),
            weak=weak_match(request.role, ranked) if reply.model == OFFLINE else "",
            model=reply.model,
            cost=reply.cost,
            note=reply.note,
        )

    @activity.defn(name="draft_letters")
    def draft_letters(self, request: DraftLetters) -> DraftedLetters:
        """Write all letters, and the plan to approve."""
        book = book_of(request)
        samples = tuple(
            Sample(
                candidate=id,
                to=letter.to,
                subject=letter.subject,
                text=self._linked(letter.first, interested()),
                follow_up=self._linked(letter.follow_up, interested()),
            )
            for id, letter in list(book.letters.items())[:SAMPLES]
        )
        proposal, named = "", sample_slots(request.slots)
        if named:
            text = book.proposal(request.candidates[0].name, named)
            proposal = self._linked(text, times(range(len(named)), 1, request.slots))
        plan = OutreachPlan(
            role=request.role.title,
            count=len(book.letters),
            letters=self._artifacts.put(book.model_dump_json().encode()),
            opening=request.opening,
            sample=samples,
            recipients=tuple(f"{id} <{letter.to}>" for id, letter in list(book.letters.items())[:NAMED]),
            slots=len(request.slots),
            proposal=proposal,
            answer_within=request.answer_within,
            model=request.model,
        )
        path = self._place("letters.md")
        self._files.write(path, self._readable(book, proposal, request).encode(), mode=0o644)
        return DraftedLetters(plan=plan, path=path.name)

    @activity.defn(name="busy_slots")
    def busy_slots(self, request: CalendarRequest) -> BusySlots:
        """The slots that are taken according to the calendar.

        Raises:
            ApplicationError: type `CalendarUnreadable`.
        """
        if not request.calendar:
            return BusySlots(busy=())
        busy = busy_slots_apart(Path(request.calendar), request.slots, lambda: None)
        return BusySlots(busy=tuple(busy))

    @activity.defn(name="draft_invitations")
    def draft_invitations(self, request: DraftInvitations) -> InvitationPlan:
        """Write the invitations."""
        agent = activity.info().workflow_id or ""
        return InvitationPlan(
            role=request.role,
            invitations=tuple(
                invitation(request, draft, agent, links=self._links) for draft in request.drafts
            ),
        )

    @activity.defn(name="recruiting_report")
    async def recruiting_report(self, request: RecruitingReportRequest) -> ReportWritten:
        """Write the report, as Markdown and as one HTML page."""
        paths = self._place("report.md"), self._place("report.html")

        def write() -> None:
            ranking = CandidateRanking.model_validate_json(self._artifacts.get(request.ranking))
            report = RecruitingReport(request, ranking)
            self._files.write(paths[0], markdown(report).encode(), mode=0o644)
            self._files.write(paths[1], html(report).encode(), mode=0o644)

        await asyncio.to_thread(write)
        return ReportWritten(markdown=str(paths[0]), html=str(paths[1]))

    def _profile(self, candidate: Candidate, folder: str) -> tuple[str, str]:
        """The profile's text, or why there is none."""
        if not candidate.file:
            return candidate.profile, "" if candidate.profile.strip() else "no profile was given"
        media_type = MEDIA_TYPES.get(Path(candidate.file).suffix.lower())
        if media_type is None:
            return candidate.profile, f"{candidate.file} is none of {', '.join(MEDIA_TYPES)}"
        try:
            text = self._text_of(read_inside(Path(folder), candidate.file, MAX_BYTES), media_type).text
        except PathSkippedError as error:
            return candidate.profile, f"{candidate.file}: {error.reason}"
        except ValueError as error:
            return candidate.profile, f"{candidate.file}: {error}"[:300]
        return f"{candidate.profile}\n{text}"[:MAX_PROFILE], ""

    def _linked(self, text: str, choices: Sequence[Choice]) -> str:
        """A letter as its recipient will see it, with placeholders for links."""
        return with_links(text, [(each.label, LINK) for each in choices] if self._links else [])

    def _readable(self, book: LetterBook, proposal: str, request: DraftLetters) -> str:
        """All letters, for people to read before they approve."""
        who = "offline, a fixed text" if request.model == OFFLINE else f"{request.model}, a language model"
        parts = [
            f"# Letters about {book.title}\n",
            f"How every first letter begins was written by {who}:\n\n> "
            + request.opening.replace("\n", "\n> ")
            + "\n",
        ]
        for id, letter in book.letters.items():
            first, follow_up = (
                self._linked(book.compose(Outgoing(candidate=id, kind=kind))[1], interested())
                for kind in (LetterKind.FIRST, LetterKind.FOLLOW_UP)
            )
            parts.append(
                f"## {id} <{letter.to}>\n\nSubject: {letter.subject}\n\n{first}\n\n### Without an "
                f"answer\n\n{follow_up}\n"
            )
        if proposal:
            times = "\n".join(f"- {slot.in_words}, {slot.interviewer}" for slot in book.slots)
            parts.append(f"## To whoever says yes\n\n{proposal}\n\nTimes that may be proposed:\n\n{times}\n")
        return "\n".join(parts)

    def _place(self, name: str) -> Path:
        agent = quote(activity.info().workflow_id or "", safe="")[:200]
        return self._folder / agent / name
