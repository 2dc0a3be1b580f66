"""Invitations as iCalendar objects: RFC 5546, METHOD:REQUEST. Pure functions."""

from __future__ import annotations

import hashlib
from datetime import UTC

from activities.recruiting.choices import invited
from activities.recruiting.letters import invitation_text
from activities.recruiting.records import DraftInvitations, InvitationDraft
from common.agents.recruiter import Invitation
from common.mail import Letter


def invitation(
    request: DraftInvitations, draft: InvitationDraft, agent: str, *, links: bool = False
) -> Invitation:
    """One candidate's invitation as it will be sent; the same draft gives the same bytes.

    With `links`, the candidate can answer with links.
    """
    text = invitation_text(request.role, request.sender, draft)
    letter = Letter(
        # The activity that sends it adds the approval's key in front.
        key=f"invitation:{draft.candidate.id}:{draft.number}",
        agent=agent,
        to=draft.candidate.email,
        subject=f"Invitation: {request.role}, {draft.slot.in_words}",
        text=text,
        thread=draft.candidate.id,
        in_reply_to=draft.in_reply_to,
        calendar=calendar_object(request, draft, agent, text),
        choices=invited(draft.number + 1) if links else (),
    )
    return Invitation(candidate=draft.candidate.id, slot=draft.place, when=draft.slot.in_words, letter=letter)


def calendar_object(request: DraftInvitations, draft: InvitationDraft, agent: str, text: str) -> str:
    """The iCalendar object. The UID stays the same per candidate; later invitations raise the SEQUENCE."""
    from icalendar import Calendar, Event, vCalAddress, vText

    calendar = Calendar()
    calendar.add("prodid", "-//Hibernaut//recruiter//EN")
    calendar.add("version", "2.0")
    calendar.add("method", "REQUEST")
    event = Event()
    event.add("uid", f"{hashlib.sha256(f'{agent}/{draft.candidate.id}'.encode()).hexdigest()[:32]}@hibernaut")
    event.add("sequence", draft.number)
    event.add("dtstamp", request.now.astimezone(UTC).replace(microsecond=0))
    event.add("dtstart", draft.slot.start.astimezone(UTC))
    event.add("dtend", draft.slot.end.astimezone(UTC))
    event.add("summary", f"Interview: {request.role}")
    event.add("description", text)
    event.add("status", "CONFIRMED")
    if draft.slot.place:
        event.add("location", draft.slot.place)
    organizer = vCalAddress(f"mailto:{draft.slot.interviewer}")
    event.add("organizer", organizer)
    attendee = vCalAddress(f"mailto:{draft.candidate.email}")
    attendee.params["CN"] = vText(draft.candidate.name)
    attendee.params["ROLE"] = vText("REQ-PARTICIPANT")
    attendee.params["PARTSTAT"] = vText("NEEDS-ACTION")
    attendee.params["RSVP"] = vText("TRUE")
    event.add("attendee", attendee, encode=False)
    calendar.add_component(event)
    return str(calendar.to_ical().decode())
