"""Takes out of the image's environment what nothing in it uses, while the image is built.

    python slim.py FOLDER

Programs of their own go to FOLDER, from where each target takes what it needs.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

PROGRAMS = ("hadolint", "litestream", "oxlint", "ruff", "shellcheck", "temporal", "zizmor")
# Of Amazon's services, those that are asked, and those by which credentials are found.
SERVICES = {"bedrock", "bedrock-runtime", "s3", "signin", "sso", "sso-oidc", "sts"}
# Sources of what is compiled already, what checks types, and fonts of printers.
SUFFIXES = {".a", ".afm", ".c", ".cpp", ".h", ".hpp", ".proto", ".pxd", ".pxi", ".pyi", ".pyx", ".rs"}
# Parts of packages that nothing here imports, as patterns below `site-packages`.
UNUSED = (
    "**/tests",
    "boto3/data/*",
    "boto3/examples",
    "duckdb/experimental",
    # Of plots only PNG is written, for which no font has to be cut down.
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
# Of the languages that can be coloured, the demo's.
LEXERS = {"__init__.py", "_mapping.py", "diff.py"}


def main(programs: Path) -> None:
    """Move programs, delete the rest."""
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
        # The main text of a page is found without them.
        if locale.stem not in ("root", "en"):
            locale.unlink()
    for file in packages.rglob("*"):
        if file.suffix in SUFFIXES:
            file.unlink()
        # Those in `*.libs` have been patched, and may not survive it.
        elif file.suffix == ".so" and file.parent.suffix != ".libs":
            subprocess.run(["strip", "--strip-unneeded", file], check=True)  # noqa: S607 -- the image's own


def _delete(path: Path) -> None:
    """A file, or a folder with all in it; one may have lain in another that is gone."""
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
