# ruff: noqa: E501 -- clauses are long sentences
"""Contracts generated from a seed, between neutral parties, with known flaws."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field

PARTIES = (("Supplier", "Customer"), ("Licensor", "Licensee"), ("Provider", "Client"))
KINDS = (
    "Master Services Agreement",
    "Software License Agreement",
    "Supply Agreement",
    "Maintenance Agreement",
)


@dataclass
class Draft:
    """A contract: numbered sections, each with a heading and paragraphs, and the rules it breaks."""

    title: str
    sections: list[tuple[str, list[str]]]
    flaws: set[str] = field(default_factory=set)
    tracked: tuple[int, str, str] | None = None


@dataclass(frozen=True)
class Flaw:
    """A broken rule, and how: the heading it changes, and the text instead."""

    rule: str
    heading: str
    text: Callable[[str, str], str] | None


FLAWS = (
    Flaw(
        "auto_renewal.length",
        "Renewal",
        lambda s, c: (
            "This Agreement shall automatically renew for successive periods of three (3) years each, "
            "unless either party gives notice of non-renewal at least thirty (30) days before the end of the term."
        ),
    ),
    Flaw(
        "liability_cap.unlimited",
        "Limitation of Liability",
        lambda s, c: (
            f"The {c} accepts unlimited liability for any loss that arises from this Agreement, and each "
            "party waives every limit that the law would grant."
        ),
    ),
    Flaw("liability_cap.stated", "Limitation of Liability", None),
    Flaw(
        "indemnity.mutual",
        "Indemnification",
        lambda s, c: (
            f"The {c} shall indemnify and hold harmless the {s} from all claims by third parties, of which "
            f"the {s} gives prompt notice."
        ),
    ),
    Flaw(
        "governing_law.allowed",
        "Governing Law",
        lambda s, c: (
            "This Agreement is governed by the laws of Bermuda, and the courts of Bermuda have exclusive "
            "jurisdiction."
        ),
    ),
    Flaw(
        "contract.words-and-figures",
        "Payment",
        lambda s, c: f"The {c} shall pay each undisputed invoice within forty-five (30) days of its receipt.",
    ),
    Flaw(
        "contract.blank",
        "Notices",
        lambda s, c: "Notices under this Agreement shall be in writing and sent to [address to be inserted].",
    ),
    Flaw(
        "contract.reference",
        "Survival",
        lambda s, c: "The obligations in Section 4.1 and Section 27.3 survive termination of this Agreement.",
    ),
    Flaw(
        "termination.notice",
        "Termination",
        lambda s, c: (
            "Either party may terminate this Agreement for convenience upon five (5) days' written notice."
        ),
    ),
    Flaw(
        "payment.late",
        "Payment",
        lambda s, c: (
            f"The {c} shall pay each undisputed invoice within one hundred and twenty (120) days of its "
            "receipt."
        ),
    ),
    Flaw(
        "entire_agreement.changes",
        "Entire Agreement",
        lambda s, c: (
            f"This is the entire agreement between the parties. The {s} may change these terms at any time."
        ),
    ),
    Flaw(
        "exclusivity.any",
        "Exclusivity",
        lambda s, c: (
            f"The {c} shall not compete with the {s} in any market for a period of six (6) months after "
            "the end of this Agreement."
        ),
    ),
    Flaw(
        "confidentiality.short",
        "Confidentiality",
        lambda s, c: (
            "Each party shall keep the other's confidential information confidential for a period of six "
            "(6) months, unless it is public."
        ),
    ),
)


def draft(seed: int, *, flaws: int | None = None, length: int = 1) -> Draft:
    """A contract; `length` repeats its services, to make it as long as wanted."""
    pick = random.Random(seed)
    s, c = pick.choice(PARTIES)
    months = pick.choice(("twelve (12)", "twenty-four (24)"))
    sections: dict[str, list[str]] = {
        "Definitions": [
            f"“{s}” and “{c}” are the parties named on the cover page; “Services” are those that Section 2 describes.",
        ],
        "Services": [
            f"The {s} shall perform the services with reasonable skill and care, as the order describes them."
        ]
        * length,
        "Term": [
            f"This Agreement begins on the effective date and the initial term of this Agreement is {months} months."
        ],
        "Renewal": [
            "This Agreement shall automatically renew for successive periods of one (1) year each, unless either "
            "party gives notice of non-renewal at least sixty (60) days before the end of the term."
        ],
        "Payment": [
            f"The {c} shall pay each undisputed invoice within thirty (30) days of its receipt.",
            "Overdue amounts bear interest at one percent (1%) per month.",
        ],
        "Confidentiality": [
            "Each party shall keep the other's confidential information confidential for a period of three (3) "
            "years, unless it is publicly available or has to be disclosed by law."
        ],
        "Intellectual Property": [
            "Each party retains all right, title and interest in its intellectual property rights."
        ],
        "Warranty": [
            f"The {s} warrants that the services will conform to the documentation. Other warranties, such as the "
            "implied warranty of merchantability, are disclaimed."
        ],
        "Indemnification": [
            "Each party shall indemnify the other against claims by third parties that it has caused, given prompt "
            "notice and control of the defence."
        ],
        "Limitation of Liability": [
            "Neither party is liable for indirect or consequential damages. Each party's aggregate liability "
            "shall not exceed the fees paid in the twelve (12) months before the claim."
        ],
        "Termination": [
            "Either party may terminate this Agreement for convenience upon sixty (60) days' written notice.",
            "Either party may terminate it at once if the other fails to cure a breach within thirty (30) days.",
        ],
        "Assignment": ["Neither party may assign this Agreement without the other's prior written consent."],
        "Force Majeure": [
            "Neither party is in breach where an event beyond its reasonable control keeps it from performing."
        ],
        "Governing Law": [
            f"This Agreement is governed by the laws of {pick.choice(('England and Wales', 'the State of New York'))}."
        ],
        "Notices": [
            "Notices under this Agreement shall be in writing and sent to the address on the cover page."
        ],
        "Survival": ["The obligations in Section 6 and Section 10 survive termination of this Agreement."],
        "Entire Agreement": [
            "This is the entire agreement between the parties. It may be amended only in writing, signed by both."
        ],
    }
    wanted = pick.choice((0, 0, 0, 1, 1, 2, 3)) if flaws is None else flaws
    broken: set[str] = set()
    for flaw in pick.sample(FLAWS, len(FLAWS)):
        if len(broken) == wanted or any(
            flaw.heading == each.heading for each in FLAWS if each.rule in broken
        ):
            continue
        broken.add(flaw.rule)
        if flaw.text is None:
            del sections[flaw.heading]
        else:
            sections[flaw.heading] = [flaw.text(s, c)]
    if broken & {"liability_cap.stated"}:
        # A removed section shifts the numbers, so references may point to nothing.
        sections.setdefault(
            "Survival", ["The obligations in Section 6 survive termination of this Agreement."]
        )
    return Draft(f"{pick.choice(KINDS)} No. {seed}", list(sections.items()), broken)
