"""The recorded histories of each release, frozen: `python -m tests.replay.releases freeze VERSION`.

Agents of a release may sleep for months after the next has come. So what was recorded of it stays as it was,
in a folder of its own, and is replayed until the folder is removed on purpose. `docs/upgrades.md` tells when.
"""

from __future__ import annotations

import re
import shutil
import sys
from pathlib import Path

from common.digest import digest_bytes
from tests.replay.fingerprints import HERE, NEWEST, RELEASES

SUMS = "SHA256SUMS"
CHANGELOG = HERE.parents[1] / "CHANGELOG.md"


def freeze(version: str) -> Path:
    """Copy the recorded histories, with their fingerprints, for good; the folder."""
    folder = RELEASES / version
    shutil.copytree(NEWEST, folder)
    (folder / SUMS).write_text("".join(f"{sum}  {name}\n" for name, sum in sums(folder).items()))
    return folder


def sums(folder: Path) -> dict[str, str]:
    """The SHA-256 of each history in a folder, by its name."""
    return {file.name: digest_bytes(file.read_bytes()) for file in sorted(folder.glob("*.json"))}


def frozen_sums(folder: Path) -> dict[str, str]:
    """The same as it was when the release was frozen."""
    lines = (line.split("  ", 1) for line in (folder / SUMS).read_text().splitlines())
    return {name: sum for sum, name in lines}


def released() -> list[str]:
    """The versions that the changelog tells of."""
    return re.findall(r"^## \[?v?(\d+\.\d+\.\d+\S*?)\]?(?:\s|$)", CHANGELOG.read_text(), re.MULTILINE)


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["freeze", version] if re.fullmatch(r"\d+\.\d+\.\d+\S*", version):
            if (RELEASES / version).exists():
                sys.exit(f"{version} is frozen already")
            print(freeze(version).relative_to(HERE.parents[1]))
        case _:
            sys.exit("usage: python -m tests.replay.releases freeze VERSION, as in 0.1.0")
