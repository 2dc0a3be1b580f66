"""A separate program: tries which modules can be imported, each in a process of its own with limits.

`imports_program.py REQUEST` reads a JSON object from the file REQUEST: `folder`, the `paths` to search, the
`modules` to try (name and file), and how many `seconds` it may take. For each module it prints its file and
the files of the folder that its import loaded, or null if the import failed. Unless `each` is set, modules
that an earlier import loaded are not tried; nothing is printed for them, nor for those without time left.
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
from pathlib import Path

_SECONDS = 20
_MEMORY = 8_000_000_000  # address space: libraries reserve far more than they use
_FILE_BYTES = 16_000_000


def attempt(name: str, file: Path, folder: Path) -> list[str] | None:
    """Import a module in a child process; the files of `folder` that it loaded, None if it failed."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.setsid()
            os.close(reading)
            _silence(keep=writing)
            os.write(writing, json.dumps(_loaded(name, file, folder)).encode())
            os.close(writing)
        finally:
            os._exit(0)
    os.close(writing)
    said, deadline = b"", time.monotonic() + _SECONDS
    while select.select([reading], [], [], max(deadline - time.monotonic(), 0))[0]:
        part = os.read(reading, 1_000_000)
        if not part:
            break
        said += part
    os.close(reading)
    try:
        os.killpg(child, signal.SIGKILL)
    except ProcessLookupError:
        os.kill(child, signal.SIGKILL)  # it does not lead a group of its own yet
    os.waitpid(child, 0)
    try:
        return list(json.loads(said))
    except ValueError:
        return None


def _loaded(name: str, file: Path, folder: Path) -> list[str]:
    if name:
        importlib.import_module(name)
    else:
        spec = importlib.util.spec_from_file_location("_tried", file)
        if spec is None or spec.loader is None:
            raise ImportError(file)
        module = sys.modules["_tried"] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    files = [getattr(each, "__file__", None) for each in list(sys.modules.values())]
    prefix = f"{folder}/"
    return [str(each)[len(prefix) :] for each in files if each and str(each).startswith(prefix)]


def _silence(keep: int) -> None:
    """Give the import nothing to read or write, and limits."""
    null = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(null, descriptor)
    os.set_inheritable(keep, False)
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
    resource.setrlimit(resource.RLIMIT_CPU, (_SECONDS, _SECONDS))
    resource.setrlimit(resource.RLIMIT_FSIZE, (_FILE_BYTES, _FILE_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def main(folder: Path, paths: list[str], modules: list[tuple[str, str]], seconds: float, each: bool) -> None:
    """Try the modules in the order given."""
    sys.path[:0] = paths
    sys.argv = [""]
    loaded: set[str] = set()
    end = time.monotonic() + seconds
    for name, file in modules:
        if file in loaded and not each:
            continue
        if time.monotonic() > end:
            break
        result = attempt(name, folder / file, folder)
        loaded.update(result or ())
        print(json.dumps([file, result]), flush=True)


if __name__ == "__main__":
    request = json.loads(Path(sys.argv[1]).read_bytes())
    main(Path(request.pop("folder")), **request)
