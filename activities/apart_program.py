"""A program of its own: calls one function of this project within limits; JSON in, JSON out.

`apart.py` starts it; nothing imports it. Arguments: `module:function`, bytes of memory, seconds of CPU;
on standard input the territory (or null) and the function's argument.
"""

from __future__ import annotations

import gc
import importlib
import json
import resource
import sys
from pathlib import Path

if __name__ == "__main__":
    # Little that imports make is garbage.
    gc.disable()
    target, memory, seconds = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    # It runs isolated; it may import only this project's modules besides.
    sys.path.insert(0, str(Path(__file__).parents[1]))
    from activities.safe_files import WITHIN
    from common.territory import Territory

    module, _, name = target.partition(":")
    function = getattr(importlib.import_module(module), name)
    gc.freeze()
    gc.enable()
    within, argument = json.load(sys.stdin)
    WITHIN.set(None if within is None else Territory.from_json(within))
    # Not `dump`, which goes from value to value in Python.
    sys.stdout.write(json.dumps(function(argument)))
