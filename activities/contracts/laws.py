"""Finds whose law a clause names: `the laws of the State of New York`, `English law`. Pure functions."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

# A word of a name; it includes a full stop only in an abbreviation such as U.S.
_NAME = r"(?:[A-Z](?:\.[A-Z])+\.?|[A-Z][\w’'-]*|of|the|and|&)"
_LAW_OF = re.compile(
    r"\b(?:laws?|courts?|jurisdictions?)(?:\s+(?:in|and)\s+(?:force|effect|equity))?(?:\s+located)?\s+(?:of|in)\s+"
    rf"(?:the\s+)?({_NAME}(?:\s+{_NAME}){{0,7}})"
)
_ADJECTIVE = re.compile(
    r"\b([A-Z][a-z]+(?:\s(?:York|Jersey|Mexico|Zealand|Kong|Hampshire|Carolina|Dakota|Virginia))?)\s+laws?\b"
)
_PLACE_OF = re.compile(
    r"^(?:the\s+)?(?:State|Commonwealth|Republic|Province|Kingdom|Federal Republic|People[’']s Republic|"
    r"Canton|County|City|District|Courts?)\s+of\s+(?:the\s+)?"
)
_ADJECTIVES = {
    "english": "England and Wales",
    "scottish": "Scotland",
    "scots": "Scotland",
    "irish": "Ireland",
    "french": "France",
    "german": "Germany",
    "swiss": "Switzerland",
    "austrian": "Austria",
    "dutch": "Netherlands",
    "belgian": "Belgium",
    "italian": "Italy",
    "spanish": "Spain",
    "swedish": "Sweden",
    "danish": "Denmark",
    "norwegian": "Norway",
    "finnish": "Finland",
    "japanese": "Japan",
    "indian": "India",
    "chinese": "China",
    "israeli": "Israel",
    "canadian": "Canada",
    "australian": "Australia",
    "polish": "Poland",
    "british": "England and Wales",
}
_STATES = [
    "Alabama",
    "Alaska",
    "Arizona",
    "Arkansas",
    "California",
    "Colorado",
    "Connecticut",
    "Delaware",
    "Florida",
    "Georgia",
    "Hawaii",
    "Idaho",
    "Illinois",
    "Indiana",
    "Iowa",
    "Kansas",
    "Kentucky",
    "Louisiana",
    "Maine",
    "Maryland",
    "Massachusetts",
    "Michigan",
    "Minnesota",
    "Mississippi",
    "Missouri",
    "Montana",
    "Nebraska",
    "Nevada",
    "Ohio",
    "Oklahoma",
    "Oregon",
    "Pennsylvania",
    "Tennessee",
    "Texas",
    "Utah",
    "Vermont",
    "Virginia",
    "Washington",
    "Wisconsin",
    "Wyoming",
]
_STATES += [
    *("New York", "New Jersey", "New Mexico", "New Hampshire", "North Carolina", "South Carolina"),
    *("North Dakota", "South Dakota", "West Virginia", "Rhode Island"),
]
_SAME = {
    "england": "England and Wales",
    "england & wales": "England and Wales",
    "wales": "England and Wales",
    "the netherlands": "Netherlands",
    "usa": "United States",
    "united states of america": "United States",
    "u.s": "United States",
    "u.s.a": "United States",
    "deutschland": "Germany",
    "hong kong special administrative region": "Hong Kong",
}
# Capitalised words that are not places.
_NO_PLACE = frozenset(
    [
        "agreement",
        "party",
        "parties",
        "licensor",
        "licensee",
        "company",
        "customer",
        "supplier",
        "court",
        "courts",
        "contract",
        "section",
        "exhibit",
        "governing",
        "applicable",
        "federal",
        "state",
        "local",
        "international",
        "conflict",
        "conflicts",
        "such",
        "any",
        "no",
        "this",
        "that",
        "privacy",
        "copyright",
        "patent",
        "trademark",
        "tax",
        "labor",
        "employment",
        "data",
        "public",
        "common",
        "civil",
        "export",
        "criminal",
        "the",
        "by",
        "and",
        "of",
    ]
)


@dataclass(frozen=True)
class Law:
    """A place whose law or courts are named: its usual name, and where in the text."""

    place: str
    start: int
    end: int


def laws(text: str) -> Iterator[Law]:
    """Every place whose law or courts a text names."""
    for match in _LAW_OF.finditer(text):
        if name := usual_name(match[1]):
            yield Law(name, match.start(), match.end())
    for match in _ADJECTIVE.finditer(text):
        word = match[1]
        name = _ADJECTIVES.get(word.lower()) or (word if word in _STATES else "")
        if name:
            yield Law(name, match.start(), match.end())


def usual_name(place: str) -> str:
    """The usual name of a place: `the State of New York` is New York; empty if it is not a place."""
    name = _PLACE_OF.sub("", " ".join(place.split()).strip(" .,;"))
    while name.lower().endswith((" of", " the", " and", " &")) or name.lower().startswith(("the ", "and ")):
        name = re.sub(r"^(?:the|and)\s+|\s+(?:of|the|and|&)$", "", name, flags=re.IGNORECASE)
    # "California and the United States" names two; the first decides.
    for state in _STATES:
        if name == state or name.startswith((f"{state} and ", f"{state} the ", f"{state}’", f"{state}'")):
            return state
    if not name or name.split()[0].lower() in _NO_PLACE or not name[0].isupper():
        return ""
    return _SAME.get(name.lower().rstrip("."), name)
