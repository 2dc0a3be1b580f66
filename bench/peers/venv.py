"""A separate virtual environment for the peers' packages, so that the project's own stays unchanged."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
# Made from `requirements.in` by `uv pip compile --universal --python-version 3.11 --generate-hashes`.
REQUIREMENTS = Path(__file__).with_name("requirements.txt")
FOLDER = ROOT / "build" / "peers"


def python_of_peers() -> Path:
    """Its interpreter; created if it is missing or the requirements have changed.

    Raises:
        RuntimeError: the packages cannot be installed.
    """
    python, made_of = FOLDER / "bin" / "python", FOLDER / "made-of"
    digest = hashlib.sha256(REQUIREMENTS.read_bytes()).hexdigest()
    if made_of.exists() and made_of.read_text() == digest:
        return python
    print(f"Installing the peers' packages into {FOLDER} …", file=sys.stderr, flush=True)
    install: list[str | Path] = [
        python,
        "-m",
        "pip",
        "install",
        "-q",
        "--disable-pip-version-check",
        "--no-deps",
    ]
    try:
        subprocess.run([sys.executable, "-m", "venv", "--clear", FOLDER], check=True, capture_output=True)
        subprocess.run([*install, "--require-hashes", "-r", REQUIREMENTS], check=True, capture_output=True)
    except subprocess.CalledProcessError as error:
        raise RuntimeError(
            f"the peers' packages cannot be installed: {error.stderr.decode()[-500:]}"
        ) from None
    made_of.write_text(digest)
    return python
