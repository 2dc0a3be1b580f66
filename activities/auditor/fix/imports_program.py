"""A separate program: tries which modules can be imported, in processes with limits.

`imports_program.py REQUEST` reads a JSON object from the file REQUEST: `folder`, the `paths` to search, the
`modules` to try (name and file), how many of these to try `alone`, and how many `seconds` it may take. For
each module it prints its file and the files of the folder that its import loaded, or null if the import
failed. Modules that are not tried alone share processes, name only files that no module before them loaded,
and are left out if one of those loaded them. Nothing is printed for modules that there was no time for.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import os
import resource
import select
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

_SECONDS = 60  # without another module: generous, so that no fix is blamed for a busy machine
_TOGETHER = 50
_CPU_SECONDS = 1000
_MEMORY = 8_000_000_000  # address space: libraries reserve far more than they use
_FILE_BYTES = 16_000_000


Module = tuple[str, str]
Result = tuple[str, list[str] | None]


def attempt(modules: list[Module], folder: Path) -> Iterator[Result]:
    """Import modules one after another; after one that hangs, crashes or exits, go on in a new process."""
    while modules:
        said = _in_a_child(modules, folder)
        yield from said
        # A module may fail because of those before it, so it goes first in the next process.
        if not said:
            yield modules[0][1], None
        modules = modules[max(len(said), 1) :]


def _in_a_child(modules: list[Module], folder: Path) -> list[Result]:
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.setsid()
            os.close(reading)
            _silence(keep=writing)
            for name, file in modules:
                told = json.dumps([file, _loaded(name, folder / file, folder)])
                os.write(writing, told.encode() + b"\n")
        finally:
            os._exit(0)
    os.close(writing)
    said = b""
    while said.count(b"\n") < len(modules) and select.select([reading], [], [], _SECONDS)[0]:
        part = os.read(reading, 1_000_000)
        if not part:
            break
        said += part
    os.close(reading)
    try:
        os.killpg(child, signal.SIGKILL)
    except ProcessLookupError:
        os.kill(child, signal.SIGKILL)  # it has not called setsid yet
    os.waitpid(child, 0)
    results: list[Result] = []
    for line, (_, file) in zip(said.split(b"\n")[:-1], modules, strict=False):
        try:
            printed, loaded = json.loads(line)
        except ValueError:
            break
        if printed != file:
            break
        results.append((file, loaded))
    return results


def _loaded(name: str, file: Path, folder: Path) -> list[str] | None:
    """Import a module; return all files of the folder that are loaded now, None if the import failed."""
    try:
        if name:
            importlib.import_module(name)
        else:
            spec = importlib.util.spec_from_file_location("_tried", file)
            if spec is None or spec.loader is None:
                return None
            module = sys.modules["_tried"] = importlib.util.module_from_spec(spec)
            spec.loader.exec_module(module)
        files = [getattr(each, "__file__", None) for each in list(sys.modules.values())]
        prefix = f"{folder}/"
        return [str(each)[len(prefix) :] for each in files if each and str(each).startswith(prefix)]
    except BaseException:
        return None


def _silence(keep: int) -> None:
    """Redirect the standard streams to /dev/null, and set limits."""
    null = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(null, descriptor)
    os.set_inheritable(keep, False)
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
    resource.setrlimit(resource.RLIMIT_CPU, (_CPU_SECONDS, _CPU_SECONDS))
    resource.setrlimit(resource.RLIMIT_FSIZE, (_FILE_BYTES, _FILE_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def main(folder: Path, paths: list[str], modules: list[Module], alone: int, seconds: float) -> None:
    """Try the modules in the order given."""
    sys.path[:0] = paths
    sys.argv = [""]
    loaded: set[str] = set()
    end = time.monotonic() + seconds
    groups = [[each] for each in modules[:alone]]
    groups += [modules[first : first + _TOGETHER] for first in range(alone, len(modules), _TOGETHER)]
    for place, group in enumerate(groups):
        if time.monotonic() > end:
            break
        names = {file: name for name, file in group if place < alone or file not in loaded}
        for file, found in attempt([(name, file) for file, name in names.items()], folder):
            result = found
            if found is None and len(names) > 1:  # perhaps because of the modules before it
                [(_, result)] = attempt([(names[file], file)], folder)
            new = result and [each for each in result if place < alone or each not in loaded]
            print(json.dumps([file, new]), flush=True)
            loaded.update(result or ())


if __name__ == "__main__":
    request = json.loads(Path(sys.argv[1]).read_bytes())
    main(Path(request.pop("folder")), **request)
