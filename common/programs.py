"""Programs that Python packages install, looked up in this Python's folder of scripts.

In a virtual environment, that is beside the interpreter; for a system's own Python, it is another folder.
"""

from __future__ import annotations

import shutil
import sysconfig
from pathlib import Path


def scripts_folder() -> Path:
    """The folder into which packages install programs."""
    return Path(sysconfig.get_path("scripts"))


def packaged_program(name: str) -> str | None:
    """The path of a program that a Python package has installed; None if none has."""
    return shutil.which(name, path=scripts_folder())
