"""A program of its own: a mail on standard input, what it says as JSON on standard output.

It is started by ``activities/mail/reading.py`` and never imported. The kernel limits memory, CPU time and
time on the clock before the first byte is read.

Arguments: bytes of memory, seconds, when the mail came.
"""

from __future__ import annotations

import json
import resource
import sys
from datetime import datetime
from pathlib import Path

if __name__ == "__main__":
    memory, seconds = map(int, sys.argv[1:3])
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    # It runs isolated; this program's own modules are what it may have besides.
    sys.path.insert(0, str(Path(__file__).parents[2]))
    from activities.mail.reading import read

    raw = sys.stdin.buffer.read()
    try:
        sys.stdout.write(read(raw, datetime.fromisoformat(sys.argv[3])).model_dump_json())
    except Exception as error:
        # Mail that is malformed trips a parser in any way whatever; all of them mean the same.
        json.dump({"error": f"{type(error).__name__}: {error}"[:300]}, sys.stdout)
