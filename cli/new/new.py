"""`starter.py new NAME`: writes a working agent with its test, and registers its kind."""

from __future__ import annotations

import ast
import keyword
import re
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

from pydantic import BaseModel

from cli.output import CommandError, ExitCode, print_document
from common.agents.batch import PAGE
from common.agents.kinds import KINDS
from common.files import write_atomically
from common.names import RESERVED
from common.notices.types import COURIER
from common.programs import packaged_program, scripts_folder

ROOT = Path(__file__).parents[2]
# Each template file: where it goes, and what is in it.
FILES = {
    "cli/new/template/inputs.py": ("common/agents/{module}.py", "its input, plan and memory"),
    "cli/new/template/activities.py": ("activities/{module}.py", "its activities"),
    "cli/new/template/workflow.py": ("workflows/{module}.py", "the agent"),
    "tests/agents/test_template.py": ("tests/agents/test_{module}.py", "its test"),
}
KIND_FILE, KINDS_FILE = "cli/new/template/kind.py", "common/agents/kinds.py"
NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
MAX_NAME = 40


class Written(BaseModel):
    """What `new --json` prints: the files and what is in each, and the commands to run next."""

    kind: str
    files: dict[str, str]
    next: list[str]


def new(name: str, *, as_json: bool) -> ExitCode:
    """Write the agent `name`, all or nothing, and print what was written.

    Raises:
        CommandError: the name is taken or invalid, a file exists already, or this is no checkout.
    """
    module = _module_of(name)
    try:
        sources = {each: (ROOT / each).read_text() for each in (*FILES, KIND_FILE, KINDS_FILE)}
    except OSError:
        raise CommandError(f"{ROOT} is no checkout of the source, and `new` writes into one.") from None
    named = {source: _named(text, name) for source, text in sources.items() if source != KINDS_FILE}
    places = {source: target.format(module=module) for source, (target, _) in FILES.items()}
    for place in map(Path, places.values()):
        for taken in (place, place.with_suffix("")):
            if (ROOT / taken).exists():
                raise CommandError(f"{taken} is there already: give another name. Nothing was written.")
    texts = {places[source]: _formatted(places[source], named[source]) for source in FILES}
    kinds = _formatted(KINDS_FILE, _with_kind(sources[KINDS_FILE], named[KIND_FILE]))
    try:
        with _all_or_nothing(texts):
            write_atomically(ROOT / KINDS_FILE, kinds.encode(), 0o644)
    except OSError as error:
        raise CommandError(f"cannot write {error.filename}: {error.strerror}. Nothing was written.") from None
    told = {places[source]: what for source, (_, what) in FILES.items()}
    _print(
        Written(
            kind=name,
            files=told | {KINDS_FILE: "where it is registered"},
            next=[
                *([] if find_spec("pytest") else ["make setup-dev"]),
                f".venv/bin/python -m pytest -q tests/agents/test_{module}.py",
                ".venv/bin/python starter.py dev",
                f".venv/bin/python starter.py start {name} --set path=FOLDER",
            ],
        ),
        as_json=as_json,
    )
    return ExitCode.DONE


def _module_of(name: str) -> str:
    """The name of an agent's modules.

    Raises:
        CommandError: the name is invalid or taken.
    """
    if not NAME.fullmatch(name) or len(name) > MAX_NAME:
        raise CommandError(
            f"{name[:MAX_NAME]!r} is no name for a kind: use lower-case letters, digits and single hyphens, "
            f"a letter first, at most {MAX_NAME}; such as tidy or invoice-payer."
        )
    module = name.replace("-", "_")
    if keyword.iskeyword(module):
        raise CommandError(f"{name} is a keyword of Python: give another name. Nothing was written.")
    if name in {*KINDS, *RESERVED, COURIER, PAGE}:
        raise CommandError(f"the name {name} is taken: give another. Nothing was written.")
    return module


def _named(text: str, name: str) -> str:
    """A template file's text for the agent `name`."""
    module = name.replace("-", "_")
    text = text.replace("cli.new.template.inputs", f"common.agents.{module}")
    text = text.replace("cli.new.template.activities", f"activities.{module}")
    text = text.replace("cli.new.template.workflow", f"workflows.{module}")
    text = text.replace("template_", f"{module}_")
    text = text.replace("Template", "".join(part.capitalize() for part in name.split("-")))
    return text.replace("template", name)


def _with_kind(kinds: str, kind: str) -> str:
    """The kinds file with another kind: the import and the call taken from `kind`, the text of a file.

    Raises:
        CommandError: the kinds file no longer has the shape to add to.
    """
    statements = ast.parse(kind).body
    [entry] = [each.value for each in statements if isinstance(each, ast.Assign)]
    imports = [each for each in statements if isinstance(each, ast.ImportFrom)]
    [its_input] = [each for each in imports if each.module not in ("__future__", "common.agents.kinds")]
    for node in ast.walk(ast.parse(kinds)):
        match node:
            case ast.DictComp(generators=[ast.comprehension(iter=ast.Tuple(elts=[*_, last]))]):
                lines = kinds.splitlines(keepends=True)
                # The last entry ends its line; the one before it already has its comma.
                lines.insert(last.end_lineno or 0, f"{ast.get_source_segment(kind, entry)},\n")
                first = next(number for number, line in enumerate(lines) if line.startswith("from common."))
                lines.insert(first, f"{ast.get_source_segment(kind, its_input)}\n")
                return "".join(lines)
    raise CommandError(f"{KINDS_FILE} has no KINDS as it came: nothing can be registered there by itself.")


def _formatted(file: str, text: str) -> str:
    """`text` as `make format` leaves it.

    Raises:
        CommandError: the text cannot be formatted.
    """
    ruff = packaged_program("ruff")
    if ruff is None:
        raise CommandError(f"{scripts_folder() / 'ruff'} is missing: run `make setup`.")
    for command in (["check", "--quiet", "--select=I", "--fix"], ["format"]):
        argv = [ruff, *command, "--no-cache", f"--stdin-filename={file}", "-"]
        done = subprocess.run(argv, cwd=ROOT, input=text, capture_output=True, text=True, check=False)
        if done.returncode:
            raise CommandError(f"{file} cannot be formatted: {done.stderr.strip()}")
        text = done.stdout
    return text


@contextmanager
def _all_or_nothing(texts: Mapping[str, str]) -> Iterator[None]:
    """Write the files, none of which exists yet; delete them again if the body fails."""
    written: list[Path] = []
    try:
        for file, text in texts.items():
            write_atomically(ROOT / file, text.encode(), 0o644, replace=False)
            written.append(ROOT / file)
        yield
    except BaseException:
        for each in written:
            each.unlink(missing_ok=True)
        raise


def _print(written: Written, *, as_json: bool) -> None:
    if as_json:
        print_document(written)
        return
    print("written:")
    width = max(map(len, written.files))
    for file, what in written.files.items():
        print(f"    {file:{width}}  {what}")
    print("next:", *written.next, sep="\n    ")
