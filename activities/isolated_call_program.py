"""A separate program: calls one of this project's functions within limits; JSON in, JSON out.

`isolated_call.py` starts it; nothing imports it. Arguments: `module:function`, memory in bytes, CPU time in
seconds. Standard input holds the territory (or null) and the function's argument.
"""

from __future__ import annotations

import gc
import importlib
import json
import resource
import sys
from pathlib import Path

if __name__ == "__main__":
    # Imports create little garbage: collecting it would only cost time.
    gc.disable()
    target, memory, seconds = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    # In isolated mode (-I) the project is not on the import path.
    sys.path.insert(0, str(Path(__file__).parents[1]))
    from activities.safe_files import current_territory
    from common.territory import Territory

    module, _, name = target.partition(":")
    function = getattr(importlib.import_module(module), name)
    gc.freeze()
    gc.enable()
    within, argument = json.load(sys.stdin)
    current_territory.set(None if within is None else Territory.from_json(within))
    # Not `dump`, which encodes in pure Python.
    sys.stdout.write(json.dumps(function(argument)))
