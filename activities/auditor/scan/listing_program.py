"""A program of its own: walks an untrusted folder for the inventory, and prints what it found as JSON.

`inventory.py` starts it; nothing imports it. Rules and indices of git can be made to take hours and
gigabytes, so this is not the worker's process, and the kernel limits memory and CPU time before the first
name is read.

Arguments: a JSON file with the request, bytes of memory, seconds of CPU.
"""

from __future__ import annotations

import json
import resource
import sys
from dataclasses import asdict
from pathlib import Path

if __name__ == "__main__":
    memory, seconds = map(int, sys.argv[2:4])
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    # It runs isolated; it may import only this project's modules besides.
    sys.path.insert(0, str(Path(__file__).parents[3]))
    from activities.auditor.scan.listing import CannotListError, list_files

    try:
        request = json.loads(Path(sys.argv[1]).read_text())
        said = asdict(list_files(request, lambda done: None))
    except CannotListError as error:
        said = {"error": [error.kind, str(error)]}
    json.dump(said, sys.stdout)
