"""Whether mail was sent automatically, and until when its author says they are away."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from email.message import Message
from itertools import islice

_SUBJECTS = re.compile(
    r"^\s*(\[?auto(matic|mated)?[ -]?(reply|response|answer)|auto:|autoreply|out of (the )?office|ooo\b"
    r"|abwesen|automatische (antwort|abwesen)|abwesend|ich bin nicht im büro|urlaub"
    r"|réponse automatique|absence du bureau|respuesta autom|fuera de (la )?oficina|resposta autom|ausência"
    r"|risposta automatica|fuori (sede|ufficio)|automatisch antwoord|afwezig|autosvar|automatiskt svar"
    r"|automatisk svar|frånvaro|automatická odpověď|odpowiedź automatyczna|автоответ|自動応答|自动回复)",
    re.IGNORECASE,
)
_DAYS_AHEAD = timedelta(days=366)
_MAX_WORDS = 6
_MAX_PHRASES = 5
# A weekday without a date is within this time.
_WEEK = timedelta(days=8)
_FILLERS = r"(?:(?:on|the|and|including|incl\.?|inkl\.?|einschließlich|dem|den|zum|am|le|el|il|dia|op)\s+)*"

# By language: what precedes the last day of an absence, and what precedes the first day back.
_UNTIL = {
    "en": r"\b(?:until|till|til|through|thru)\b|\bfrom\b[^.\n]{3,40}?\b(?:to|-|–)\b",
    "de": r"\bbis\b",
    "fr": r"\bjusqu['’](?:au|à)\b|\bdu\b[^.\n]{3,30}?\bau\b",
    "es": r"\bhasta\b",
    "it": r"\bfino (?:al|a)\b",
    "nl": r"\btot(?: en met)?\b",
    "pt": r"\baté\b",
}
_BACK = {
    "en": r"\b(?:back|return(?:ing)?|available again)\b(?: (?:to|in|at) (?:the |my |our )?(?:office|work))?"
    r"(?: (?:by|from|as of|starting))?",
    "de": r"\b(?:wieder|zurück)\b(?: [a-zäöüß]+){0,3}? (?:ab|am)\b"
    r"|\bab\b(?= (?:dem|[0-9]|mo|di|mi|do|fr|sa|so))|\bam\b(?=[^\n]{3,30}\b(?:wieder|zurück)\b)",
    "fr": r"\b(?:de retour|retour|reviens|à partir du|dès le)\b(?: (?:au bureau))?",
    "es": r"\b(?:de vuelta|regres\w+|volver\w*|vuelvo|a partir del)\b(?: a la oficina)?",
    "it": r"\b(?:di ritorno|rientr\w+|torn\w+|a partire dal)\b(?: in ufficio)?",
    "nl": r"\b(?:terug|weer (?:aanwezig|bereikbaar)|vanaf)\b(?: (?:op|vanaf))?",
    "pt": r"\b(?:de volta|retorn\w+|regress\w+|a partir de)\b(?: ao escritório)?",
}


def is_automatic(mail: Message, subject: str) -> bool:
    """Whether it was sent automatically, by its headers (RFC 3834 and older conventions) or its subject."""
    automatic = str(mail.get("Auto-Submitted", "no")).split(";")[0].strip().lower() not in ("no", "")
    older = any(name in mail for name in ("X-Autoreply", "X-Autorespond", "X-AutoReply-From"))
    precedence = str(mail.get("Precedence", "")).strip().lower() in ("auto_reply", "auto-reply")
    return automatic or older or precedence or _SUBJECTS.match(subject) is not None


def back_at(text: str, sent_at: datetime) -> datetime | None:
    """When the author of an automatic reply is back; None if it does not say.

    A day of return takes precedence over the last day of an absence, on which they are still away. Days
    begin at midnight in the time zone of `sent_at`, to which relative dates refer.

    Returns:
        A moment within the year after `sent_at`.
    """
    text = " ".join(text[:8000].split())
    for phrases, extra in ((_BACK, timedelta()), (_UNTIL, timedelta(days=1))):
        found = []
        for language, phrase in phrases.items():
            for match in islice(re.finditer(phrase, text, re.IGNORECASE), _MAX_PHRASES):
                day = _date(text[match.end() : match.end() + 60], language, sent_at)
                if day is not None and sent_at < day + extra <= sent_at + _DAYS_AHEAD:
                    found.append((match.start(), day + extra))
        if found:
            return min(found)[1]
    return None


def _date(text: str, language: str, sent_at: datetime) -> datetime | None:
    """The date that `text` begins with, taking as many of its words as form one."""
    text = re.sub(rf"^\s*{_FILLERS}", "", text, flags=re.IGNORECASE)
    words = [word for word in text.split() if word.lower() not in ("den", "dem", "the", "of")][:_MAX_WORDS]
    for count in range(len(words), 0, -1):
        phrase = " ".join(words[:count]).strip(".,;:!()") if count > 1 else words[0].strip(",;:!()")
        if days := _parsed(phrase, language, sent_at):
            to_come = [day for day in days if day > sent_at.replace(tzinfo=None)]
            return min(to_come).replace(tzinfo=sent_at.tzinfo) if to_come else None
    return None


def _parsed(phrase: str, language: str, sent_at: datetime) -> list[datetime]:
    """The days that a phrase may mean, without a time zone."""
    # Imported late: it takes half a second to load, and few mails need it.
    import dateparser

    base = sent_at.replace(tzinfo=None)
    settings = {"RELATIVE_BASE": base, "PREFER_DATES_FROM": "future"}
    # In English, 3/8 may mean either; of the two the sooner is chosen by the caller.
    orders = ("MDY", "DMY") if language == "en" and re.match(r"\d+/\d+", phrase) else (None,)
    found: list[datetime] = []
    for order in orders:
        ordered = {**settings, "DATE_ORDER": order} if order else settings
        required = {**ordered, "REQUIRE_PARTS": ["day", "month"]}
        if day := dateparser.parse(phrase, languages=[language], settings=required):
            found.append(day)
        elif not re.search(r"\d", phrase):
            # A weekday, which has no parts to require.
            day = dateparser.parse(phrase, languages=[language], settings=ordered)
            if day and base < day <= base + _WEEK:
                found.append(day)
    return [day.replace(hour=0, minute=0, second=0, microsecond=0, tzinfo=None) for day in found]
