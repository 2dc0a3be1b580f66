"""A separate program: takes a mail on standard input and prints what it says as JSON.

``activities/mail/reading.py`` starts it; nothing imports it. Memory and CPU time are limited before the
first byte is read.

Arguments: bytes of memory, seconds, when the mail arrived.
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
    # It runs isolated; it may import only this project's modules besides.
    sys.path.insert(0, str(Path(__file__).parents[2]))
    from activities.mail.reading import read

    raw = sys.stdin.buffer.read()
    try:
        sys.stdout.write(read(raw, datetime.fromisoformat(sys.argv[3])).model_dump_json())
    except Exception as error:
        # Malformed mail may make a parser raise anything; it all means the same.
        json.dump({"error": type(error).__name__}, sys.stdout)
