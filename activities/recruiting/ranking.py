"""Ranks stripped profiles by the requirements they meet, with a quote for each. Pure functions."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from activities.llm.outputs import find_quote
from activities.llm.records import LanguageModel, Material, ModelItem, ModelReply, ModelRequest
from activities.llm.sentences import STOP_WORDS, count_stems, lines_and_sentences, scorer, stems
from activities.recruiting.records import Ranked, Reason
from common.agents.recruiter import Role

# How many profiles, the best by rules, are shown to a language model; the rest keep the rules' order.
SHOWN = 40
MAX_SHOWN_CHARACTERS = 4_000
MAX_QUOTE = 300


@dataclass(frozen=True)
class Profile:
    """A stripped profile. A language model identifies the candidate only by `number`."""

    number: int
    id: str
    name: str
    text: str
    unread: str = ""


def rank(role: Role, profiles: Sequence[Profile], model: LanguageModel) -> tuple[list[Ranked], ModelReply]:
    """The candidates, best first, and the reply of the model that ranked them.

    Rules rank first: by must-haves, nice-to-haves, then shared words. A language model then reorders the
    best; it sees neither names nor ids.
    """
    scores = _relevance(role, profiles)
    ranked = {each.number: _by_rules(role, each) for each in profiles}
    order = sorted(
        profiles,
        key=lambda each: (
            -ranked[each.number].musts,
            -ranked[each.number].nices,
            -scores[each.number],
            each.id,
        ),
    )
    shown = [each for each in order[:SHOWN] if each.text]
    reply = model.rank(
        ModelRequest(
            task="Rank job candidates by how well their profiles fit a role",
            instruction=role_text(role),
            # Sorted by content, so that the input order has no effect.
            items=[
                ModelItem(id=f"profile-{each.number}", text=each.text[:MAX_SHOWN_CHARACTERS])
                for each in sorted(shown, key=lambda each: (each.text, each.id))
            ],
            keep=max(len(shown), 1),
        )
    )
    if reply.model == "offline":
        return [ranked[each.number] for each in order], reply
    by_item = {f"profile-{each.number}": each for each in shown}
    first = [by_item[each.id] for each in reply.ranking if each.id in by_item]
    told = {by_item[each.id].number: each for each in reply.ranking if each.id in by_item}
    rest = [each for each in order if each not in first]
    best = []
    for profile in (*first, *rest):
        found, said = ranked[profile.number], told.get(profile.number)
        if said is not None:
            quote = _placed("the role", said.quote.text, profile.text)
            found = found.model_copy(
                update={"words": said.reason[:500], "reasons": (*found.reasons, *([quote] if quote else []))}
            )
        best.append(found)
    return best, reply


def weak_match(role: Role, ranked: Sequence[Ranked]) -> str:
    """Why a ranking by rules may mean little; empty if there is no reason."""
    if all(each.unread for each in ranked):
        return "no candidate has a profile that could be read"
    if (role.must_have or role.nice_to_have) and not any(each.reasons for each in ranked):
        return "no profile meets anything that the role asks for"
    return ""


def role_text(role: Role) -> str:
    """The role as one text."""
    musts = "".join(f"\nMust have: {each}" for each in role.must_have)
    nices = "".join(f"\nNice to have: {each}" for each in role.nice_to_have)
    return f"{role.title}\n{role.description}{musts}{nices}"


def _by_rules(role: Role, profile: Profile) -> Ranked:
    asked = [(each, True) for each in role.must_have] + [(each, False) for each in role.nice_to_have]
    found = [(what, must, _told(what, must, profile.text)) for what, must in asked]
    reasons = tuple(reason for _, _, reason in found if reason)
    return Ranked(
        id=profile.id,
        name=profile.name,
        musts=sum(each.must for each in reasons),
        nices=sum(not each.must for each in reasons),
        reasons=reasons,
        missing=tuple(what for what, must, reason in found if must and reason is None),
        unread=profile.unread,
    )


def _told(what: str, must: bool, text: str) -> Reason | None:
    """The first sentence that meets `what`: it contains all its meaningful words and does not negate them."""
    wanted = {stem for _, stem, _ in stems(_spelled(what)) if stem not in STOP_WORDS}
    if not wanted:
        return None
    for start, end in lines_and_sentences(text):
        sentence = _spelled(_line_before(text, start) + text[start:end])
        if wanted <= {stem for _, stem, _ in stems(sentence)} and not _denied(sentence, wanted):
            end = min(end, start + MAX_QUOTE)
            return Reason(about=what, must=must, quote=text[start:end], start=start, end=end)
    return None


def _line_before(text: str, start: int) -> str:
    """The negated clause that a line continues, such as `no experience with` before a line break."""
    before = text[:start].rstrip(" \t")
    if not before.endswith("\n") or before.endswith("\n\n") or not text[start].isalpha():
        return ""
    clause = re.split(r"[.!?,;:|\t]", before[:-1].rpartition("\n")[2])[-1]
    return f"{clause} " if _DENIAL.search(clause) else ""


def _spelled(text: str) -> str:
    """Spell out names with symbols; otherwise C, C++ and C# would be the same word."""
    text = re.sub(r"(?i)\bc\+\+", "cplusplus", text)
    text = re.sub(r"(?i)\b([cf])#", r"\1sharp", text)
    return re.sub(r"(?i)(?<!\w)\.net\b", "dotnet", text)


_DENIAL = re.compile(
    r"\b(?:no|none|not|neither|nor|never|without|lacks?|lacking|non|n't|yet to|want to learn)\b|n't\b",
    re.IGNORECASE,
)


def _denied(sentence: str, wanted: set[str]) -> bool:
    """Whether a clause with any of the words negates them, as in `no experience with Python`."""
    for clause in re.split(rf"[,;]|:(?!\s*{_DENIAL.pattern})|\bbut\b", sentence):
        if wanted & {stem for _, stem, _ in stems(clause)} and _DENIAL.search(clause):
            return True
    return False


def _relevance(role: Role, profiles: Sequence[Profile]) -> dict[int, float]:
    counts: dict[int, Counter[str]] = {each.number: count_stems(each.text) for each in profiles}
    score = scorer(role_text(role), list(counts.values()))
    return {number: score(each) for number, each in counts.items()}


def _placed(about: str, quote: str, text: str) -> Reason | None:
    place = find_quote(quote, [Material(id="profile", text=text)], "profile")
    if place is None:
        return None
    return Reason(about=about, must=False, quote=place.text[:MAX_QUOTE], start=place.start, end=place.end)
