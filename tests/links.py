"""Finds dead links in the documents: `python -m tests.links`. Links to other sites are not followed."""

from __future__ import annotations

import re
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)|<img[^>]+src=\"([^\"]+)\"")
HEADING = re.compile(r"^#+\s+(.*)$", re.MULTILINE)


def anchors(text: str) -> set[str]:
    """The anchors of a document's headings, as Markdown viewers make them."""
    return {
        re.sub(r"[^\w\- ]", "", heading.replace("`", "")).strip().lower().replace(" ", "-")
        for heading in HEADING.findall(text)
    }


def dead_links(document: Path) -> list[str]:
    """The links of `document` that lead nowhere."""
    text = document.read_text()
    dead = []
    for pair in LINK.findall(re.sub(r"```.*?```", "", text, flags=re.DOTALL)):
        target = pair[0] or pair[1]
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        file = document.parent / path if path else document
        gone = not file.exists()
        if gone or (anchor and file.suffix == ".md" and anchor not in anchors(file.read_text())):
            dead.append(f"{document.relative_to(ROOT)}: {target}")
    return dead


def main() -> int:
    """Print the dead links; 1 where there are any."""
    documents = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "deploy").rglob("*.md")]
    dead = [link for document in documents for link in dead_links(document)]
    print("\n".join(dead) or f"no dead links in {len(documents)} documents")
    return 1 if dead else 0


if __name__ == "__main__":
    sys.exit(main())
