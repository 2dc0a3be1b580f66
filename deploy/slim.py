"""Removes from the image's environment what nothing in it uses, while the image is built.

    python slim.py FOLDER

Standalone programs go to FOLDER, from where each target takes what it needs.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

PROGRAMS = ("hadolint", "litestream", "oxlint", "ruff", "shellcheck", "temporal", "zizmor")
# The AWS services that are used, and those that provide credentials.
SERVICES = {"bedrock", "bedrock-runtime", "s3", "signin", "sso", "sso-oidc", "sts"}
# Sources of compiled code, type stubs, and printer fonts.
SUFFIXES = {".a", ".afm", ".c", ".cpp", ".h", ".hpp", ".proto", ".pxd", ".pxi", ".pyi", ".pyx", ".rs"}
# Parts of packages that nothing here imports, as patterns under `site-packages`.
UNUSED = (
    "**/tests",
    "boto3/data/*",
    "boto3/examples",
    "duckdb/experimental",
    # Plots are only written as PNG, which needs no font subsetting.
    "fontTools/*Lib",
    "fontTools/*2*u",
    "fontTools/pens",
    "fontTools/subset",
    "lxml/objectify.*",
    "matplotlib/backends/backend_[cgmnpqstw]*",
    "matplotlib/backends/qt_editor",
    "matplotlib/backends/web_backend",
    "matplotlib/mpl-data/fonts/ttf/DejaVuSerif*",
    "matplotlib/mpl-data/fonts/ttf/STIX*",
    "matplotlib/mpl-data/sample_data",
    "matplotlib/testing",
    "numpy/_core/_simd.*",
    "numpy/distutils",
    "numpy/f2py",
    "openai/resources/admin",
    "openai/resources/beta",
    "PIL/_avif.*",
    "pillow.libs/libavif*",
    "recurring_ical_events/test",
    "sqlalchemy/dialects/m[sy]*sql",
    "sqlalchemy/dialects/oracle",
    "sqlalchemy/ext",
    "sqlalchemy/orm",
    "sqlalchemy/testing",
    "temporalio/bridge/sdk-core",
    "tiktoken",
)
# Of the syntax highlighters, only the demo's.
LEXERS = {"__init__.py", "_mapping.py", "diff.py"}


def main(programs: Path) -> None:
    """Move the programs, and delete everything unused."""
    programs.mkdir()
    for name in PROGRAMS:
        shutil.move(Path(sysconfig.get_path("scripts"), name), programs / name)
    packages = Path(sysconfig.get_path("purelib"))
    for pattern in UNUSED:
        found = list(packages.glob(pattern))
        if not found:
            raise SystemExit(f"{pattern}: a package has changed, so look what takes the room now")
        for each in found:
            _delete(each)
    for lexer in (packages / "pygments" / "lexers").iterdir():
        if lexer.name not in LEXERS:
            _delete(lexer)
    for service in (packages / "botocore" / "data").iterdir():
        if service.is_dir() and service.name not in SERVICES:
            shutil.rmtree(service)
    for locale in (packages / "babel" / "locale-data").iterdir():
        # Extraction of a page's main text works without them.
        if locale.stem not in ("root", "en"):
            locale.unlink()
    for file in packages.rglob("*"):
        if file.suffix in SUFFIXES:
            file.unlink()
        # Those in `*.libs` are patched, and might not survive strip.
        elif file.suffix == ".so" and file.parent.suffix != ".libs":
            subprocess.run(["strip", "--strip-unneeded", file], check=True)  # noqa: S607 -- the image's own


def _delete(path: Path) -> None:
    """Delete a file or a folder tree; it may be gone already, with a folder that held it."""
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
