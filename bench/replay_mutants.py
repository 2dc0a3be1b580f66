"""Does anything get past the recorded histories? `python bench/replay_mutants.py [--sample N] [--seed S]`

Applies deliberate breakages to workflows and kit, one at a time in a copy of the code, and runs what CI runs
on each: every recorded history is replayed, and what the code does is compared with its fingerprint. The
unchanged copy must pass first. The last line is JSON. The mutants are in `bench/mutants.py`.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import os
import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from bench.harness import end_with  # noqa: E402
from bench.mutants import MUTANTS, Mutant  # noqa: E402

COPIED = ("activities", "cli", "common", "workflows", "tests/replay")
# Time limit of each mutant's process, which normally ends long before.
LIMIT_SECONDS = 300
# Modules preloaded for all of them; none of this program's own.
HEAVY = (
    *("temporalio.worker", "temporalio.client", "temporalio.contrib.pydantic", "temporalio.testing"),
    *("pydantic", "boto3", "httpx", "lxml.etree", "cryptography.fernet", "pydantic_ai.direct", "jinja2"),
)


class NotApplicableError(Exception):
    """A mutant no longer fits the code; the message says which."""


@contextmanager
def applied(mutant: Mutant | None, copy: Path) -> Iterator[None]:
    """Apply the breakage to the copy while the block runs."""
    if mutant is None:
        yield
        return
    file = copy / mutant.file
    whole, times = file.read_text(), file.stat()
    text = whole
    for old, new in mutant.edits:
        if text.count(old) != 1:
            raise NotApplicableError(
                f"{mutant.name!r}: {mutant.file} has {text.count(old)} times {old!r}; write the mutant anew"
            )
        text = text.replace(old, new)
    compiled = list(file.parent.glob(f"__pycache__/{file.stem}.*.pyc"))
    for each in compiled:
        each.rename(each.with_suffix(".kept"))
    file.write_text(text)
    try:
        yield
    finally:
        file.write_text(whole)
        os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns))
        for each in compiled:
            each.with_suffix(".kept").rename(each)


def looked_at(copy: Path, at: Sequence[str], *, others: bool = True, keep_compiled: bool = False) -> str:
    """CI's verdict on the copy: the first recording that notices; empty if none does.

    Recordings that begin with one of `at` are tried first, then all `others`, in a forked process.

    Raises:
        NotApplicableError: the copy's code cannot be loaded, so there is no verdict.
    """
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        os.close(reading)
        sys.dont_write_bytecode = not keep_compiled
        said = "!it did not end well"
        try:
            said = _verdict(copy, tuple(at), others=others)
        except BaseException as error:
            said = f"!{type(error).__name__}: {error}"
        finally:
            os.write(writing, said.encode()[:2000])
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        said = pipe.read().decode(errors="replace")
    os.waitpid(child, 0)
    if said.startswith("!"):
        raise NotApplicableError(said[1:])
    return said


def _verdict(copy: Path, at: tuple[str, ...], *, others: bool) -> str:
    """Runs in the child: the recordings' verdict on the copy's code."""
    logging.disable(logging.CRITICAL)
    os.chdir(copy)
    for name in [name for name in sys.modules if name.partition(".")[0] in ("bench", "tests", "common")]:
        del sys.modules[name]
    sys.path[:] = [str(copy), *(path for path in sys.path if path != str(ROOT))]
    from tests.replay import fingerprints

    assert str(fingerprints.HERE).startswith(str(copy)), f"{fingerprints.HERE} is not of the copy"

    async def tell() -> str:
        files = sorted(fingerprints.histories(), key=lambda file: not file.name.startswith(at))
        if not others:
            files = [file for file in files if file.name.startswith(at)]
        async with fingerprints.new_replayer() as replayer:
            for file in files:
                try:
                    found = await fingerprints.difference(file, replayer)
                except fingerprints.BrokenReplayError:
                    return f"{file.stem}: does not replay"
                if found:
                    return f"{file.stem}: another fingerprint"
        return ""

    async def bounded() -> str:
        async with asyncio.timeout(LIMIT_SECONDS):
            return await tell()

    return asyncio.run(bounded())


def chosen(sample: int | None, seed: int) -> list[Mutant]:
    """All mutants in seeded order, or a sample that covers as many sorts as possible."""
    drawn = random.Random(seed)  # noqa: S311 - it has to repeat
    mutants = drawn.sample(MUTANTS, len(MUTANTS))
    if sample is None:
        return mutants
    seen: Counter[str] = Counter()
    ranked: list[tuple[int, int, Mutant]] = []
    for each in mutants:
        ranked.append((seen[each.category], len(ranked), each))
        seen[each.category] += 1
    return [each for *_, each in sorted(ranked, key=lambda rank: rank[:2])[:sample]]


def bench(mutants: Sequence[Mutant], seed: int) -> dict[str, object]:
    """Check each mutant and return the report."""
    begun = time.monotonic()
    missed: list[str] = []
    how: Counter[str] = Counter()
    with tempfile.TemporaryDirectory(prefix="hibernaut-mutants-") as folder:
        copy = Path(folder)
        for part in COPIED:
            shutil.copytree(ROOT / part, copy / part, ignore=shutil.ignore_patterns("__pycache__"))
        (copy / "tests" / "__init__.py").touch()
        shutil.copy(ROOT / "CHANGELOG.md", copy)
        for module in HEAVY:
            __import__(module)
        # Replay all recordings, unless a sample's mutants all name theirs.
        if said := looked_at(copy, [each.at for each in mutants], others=False, keep_compiled=True):
            raise NotApplicableError(f"the code as it is does not pass: {said}")
        for mutant in mutants:
            with applied(mutant, copy):
                said = looked_at(copy, [mutant.at])
            print(f"{mutant.category}: {mutant.name}: {said or 'MISSED'}", file=sys.stderr, flush=True)
            if said:
                how[said.partition(": ")[2]] += 1
            else:
                missed.append(mutant.name)
    return {
        "mutants": len(mutants),
        "caught": len(mutants) - len(missed),
        "missed": missed,
        "by_replay": how["does not replay"],
        "by_fingerprint": how["another fingerprint"],
        "sorts": dict(Counter(each.category for each in mutants)),
        "seed": seed,
        "seconds": round(time.monotonic() - begun, 1),
    }


def main() -> int:
    """Parse the options, run, print the report; the exit code is 1 if a mutant was missed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--sample", type=int, help="so many mutants, of as many sorts as there are; else all")
    parser.add_argument("--seed", type=int, help="of their order and choice; made up if not given")
    options = parser.parse_args()
    seed = options.seed if options.seed is not None else random.SystemRandom().randrange(10**6)
    try:
        report = bench(chosen(options.sample, seed), seed)
    except NotApplicableError as error:
        print(error, file=sys.stderr)
        return 2
    print(json.dumps(report))
    return 1 if report["missed"] else 0


if __name__ == "__main__":
    end_with(main)
