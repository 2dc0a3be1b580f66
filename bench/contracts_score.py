"""How well clauses and kinds of agreements are found, on some 2,300 real legal texts with labels.

    python bench/contracts_score.py [--all] [--json] [--data WHEEL]

The texts come from the package `licensedcode-data`, downloaded once into a cache (26 MB). Their labels:

- category: as given to each text by its editors;
- clauses: in texts with headings, the author's heading is the label, and the search sees the text below
  it without the heading. Only headings that name exactly one clause count. A section may also cover
  another clause, so precision here is a lower bound;
- passages that the editors filed as a warranty disclaimer or as an export clause: how many are found.

The score covers the half of the texts that rules were not tuned on: those with an odd first byte of the
SHA-256 of the owner's name (of the text's key, if the owner is unknown), so that all versions of a text are
in the same half. `--all` scores the other half as well.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import re
import subprocess
import sys
import tempfile
import zipfile
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from activities.contracts.audit import category_of
from activities.contracts.clauses import ClauseFinder, Unit, units
from activities.contracts.phrases import words_of
from activities.contracts.playbook import Playbook, default_playbook
from activities.documents import plain
from activities.documents.structure import StructuredDocument

VERSION = "32.1.0"
WHEEL = f"licensedcode_data-{VERSION}-py3-none-any.whl"
SHA256 = "18f60bde6dbabbc0a925d45ed80089cdbb7168156a2a1c118737198f9b743b96"
CACHE = Path(__file__).parents[1] / ".hibernaut" / "bench"
# The editors' categories mapped to those of the default playbook; texts filed as unstated are left out.
CATEGORIES = {
    "Permissive": "permissive",
    "Copyleft": "copyleft",
    "Copyleft Limited": "copyleft",
    "Proprietary Free": "proprietary",
    "Commercial": "proprietary",
    "Free Restricted": "proprietary",
    "Source-available": "proprietary",
    "Public Domain": "public_domain",
    "Patent License": "patent_licence",
    "CLA": "contributor_agreement",
}
PASSAGES = {"warranty-disclaimer": "warranty_disclaimer", "generic-export-compliance": "export"}
MIN_WORDS = 15


@dataclass(frozen=True)
class Text:
    """A text with the editors' labels."""

    key: str
    owner: str
    category: str
    text: str

    @property
    def held_out(self) -> bool:
        """Whether the rules were not tuned on it."""
        family = self.key if self.owner.lower() in ("", "unspecified") else self.owner
        return bool(hashlib.sha256(family.encode()).digest()[0] % 2)


@dataclass(frozen=True)
class Scored:
    """The findings in a text: its category, and for each labelled section, the clauses found in its body."""

    category: str
    sections: tuple[tuple[str, tuple[str, ...]], ...]


def fetched(given: Path | None) -> Path:
    """The package, downloaded if missing, and verified by its hash."""
    wheel = given or CACHE / WHEEL
    if not wheel.exists():
        CACHE.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile("w", suffix=".txt") as wanted:
            wanted.write(f"licensedcode-data=={VERSION} --hash=sha256:{SHA256}\n")
            wanted.flush()
            command = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--require-hashes"]
            subprocess.run([*command, "-d", str(CACHE), "-r", wanted.name], check=True)
    if hashlib.sha256(wheel.read_bytes()).hexdigest() != SHA256:
        raise SystemExit(f"{wheel} is not licensedcode-data {VERSION}")
    return wheel


def texts(wheel: Path) -> Iterator[Text]:
    """The licences whose category is known here."""
    with zipfile.ZipFile(wheel) as files:
        for name in sorted(files.namelist()):
            if "/licenses/" not in name or not name.endswith(".LICENSE"):
                continue
            head, body = _parts(files.read(name).decode("utf-8", "replace"))
            if head.get("category") in CATEGORIES and body.strip():
                yield Text(head["key"], head.get("owner", ""), CATEGORIES[head["category"]], body)


def passages(wheel: Path) -> Iterator[tuple[str, str]]:
    """The passages that the editors filed under one subject."""
    with zipfile.ZipFile(wheel) as files:
        for name in sorted(files.namelist()):
            if "/rules/" in name and name.endswith(".RULE"):
                head, body = _parts(files.read(name).decode("utf-8", "replace"))
                if head.get("license_expression") in PASSAGES and body.strip():
                    yield PASSAGES[head["license_expression"]], body


def _parts(text: str) -> tuple[dict[str, str], str]:
    _, head, body = [*text.split("---\n", 2), "", ""][:3]
    return dict(re.findall(r"^(\w+): *(.+)$", head, re.MULTILINE)), body


def read(text: str) -> StructuredDocument:
    """Parse a text as the readers do."""
    return StructuredDocument.model_validate(plain.read(text.encode("utf-8", "replace")))


@lru_cache(1)
def tools() -> tuple[Playbook, ClauseFinder]:
    """The default playbook and its search."""
    return default_playbook(), ClauseFinder(default_playbook())


def score(text: Text) -> Scored:
    """Score one text."""
    playbook, finder = tools()
    document = read(text.text)
    ids = [each.id for each in playbook.clauses]
    sections: dict[tuple[int, str], set[int]] = {}
    lengths: Counter[tuple[int, str]] = Counter()
    for unit in units(document):
        if not unit.headings:
            continue
        body = without_heading(unit)
        key = (unit.section, unit.headings[0])
        lengths[key] += len(body.words)
        sections.setdefault(key, set()).update(finder.kinds_of(body, by_heading=False))
    labelled = []
    for key, found in sections.items():
        label = finder.named_by(key[1])
        if len(label) == 1 and lengths[key] >= MIN_WORDS:
            labelled.append((ids[label.pop()], tuple(sorted(ids[each] for each in found))))
    return Scored(category_of(playbook, document), tuple(labelled))


def without_heading(unit: Unit) -> Unit:
    """The unit without its leading heading."""
    if not unit.own_heading:
        return unit
    heading = len(words_of(unit.headings[0]))
    return Unit(unit.block, unit.words[heading:], (), False, unit.section)


def clause_table(scored: Iterable[Scored]) -> dict[str, dict[str, Any]]:
    """For each clause: its sections, how many were found, and what the others were taken for."""
    sections: Counter[str] = Counter()
    hits: Counter[str] = Counter()
    claimed: Counter[str] = Counter()
    instead: dict[str, Counter[str]] = defaultdict(Counter)
    for each in scored:
        for label, found in each.sections:
            sections[label] += 1
            hits[label] += label in found
            claimed.update(found)
            if label not in found:
                instead[label].update(found or ("nothing",))
    return {
        label: {
            "sections": count,
            "found": hits[label],
            "recall": round(hits[label] / count, 3),
            "precision": round(hits[label] / claimed[label], 3) if claimed[label] else None,
            "instead": dict(instead[label].most_common(3)),
        }
        for label, count in sections.most_common()
    }


def category_table(pairs: Iterable[tuple[str, str]]) -> dict[str, dict[str, int]]:
    """For each category, how many of its texts were assigned to which."""
    table: dict[str, Counter[str]] = defaultdict(Counter)
    for truth, found in pairs:
        table[truth][found or "none"] += 1
    return {truth: dict(found.most_common()) for truth, found in sorted(table.items())}


def report(which: str, some: list[Text], scored: list[Scored]) -> dict[str, Any]:
    """The score of some texts."""
    clauses = clause_table(scored)
    sections = sum(each["sections"] for each in clauses.values())
    found = sum(each["found"] for each in clauses.values())
    said = sum(len(kinds) for each in scored for _, kinds in each.sections)
    right = sum(text.category == each.category for text, each in zip(some, scored, strict=True))
    return {
        "texts": which,
        "count": len(some),
        "category": {
            "accuracy": round(right / len(some), 3),
            "confusion": category_table((t.category, s.category) for t, s in zip(some, scored, strict=True)),
        },
        "clauses": {
            "sections": sections,
            "recall": round(found / sections, 3) if sections else None,
            "precision": round(found / said, 3) if said else None,
            "by_clause": clauses,
        },
    }


def print_report(score: dict[str, Any]) -> None:
    """Print the score for people."""
    category, clauses = score["category"], score["clauses"]
    print(f"\n{score['texts']}: {score['count']:,} texts")
    print(f"category: {category['accuracy']:.1%} right")
    for truth, found in category["confusion"].items():
        total = sum(found.values())
        print(f"  {truth:<22}{total:>5}  " + ", ".join(f"{each} {count}" for each, count in found.items()))
    print(
        f"clauses: {clauses['sections']:,} sections with a heading, recall {clauses['recall']:.1%}, "
        f"precision at least {clauses['precision']:.1%}"
    )
    for label, each in clauses["by_clause"].items():
        missed = ", ".join(f"{other} {count}" for other, count in each["instead"].items())
        precision = f"{each['precision']:.2f}" if each["precision"] is not None else "   -"
        counts = f"{label:<22}{each['sections']:>5}  recall {each['recall']:.2f}"
        print(f"  {counts}  precision {precision}  {missed}")


def main() -> int:
    """Print the score."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--data", type=Path, help="the package's wheel, where it is here already")
    parser.add_argument("--all", action="store_true", help="score the half that rules were tuned on, too")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    options = parser.parse_args()
    wheel = fetched(options.data)
    every = list(texts(wheel))
    halves = {"held out": [each for each in every if each.held_out]}
    if options.all:
        halves["tuned on"] = [each for each in every if not each.held_out]
    scores = []
    with ProcessPoolExecutor() as pool:
        for which, some in halves.items():
            scores.append(report(which, some, list(pool.map(score, some, chunksize=16))))
    _, finder = tools()
    ids = [each.id for each in default_playbook().clauses]
    filed: dict[str, list[bool]] = defaultdict(list)
    for label, body in passages(wheel):
        kinds = set().union(*(finder.kinds_of(unit) for unit in units(read(body))))
        filed[label].append(label in {ids[each] for each in kinds})
    of_passages = {label: {"passages": len(hit), "found": sum(hit)} for label, hit in filed.items()}
    if options.json:
        print(json.dumps({"halves": scores, "passages": of_passages}))
        return 0
    for each in scores:
        print_report(each)
    for label, counts in of_passages.items():
        print(f"passages on {label}: {counts['found']} of {counts['passages']} found")
    return 0


if __name__ == "__main__":
    sys.exit(main())
