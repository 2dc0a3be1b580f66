"""A separate program: reads a mail from standard input and prints its content as JSON.

``activities/mail/reading.py`` runs it; nothing imports it. It limits its own memory and CPU time before it
reads the first byte.

Arguments: memory limit in bytes, CPU limit in seconds, when the mail arrived.
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
    # Python runs isolated (-I), so add this project's modules to the path.
    sys.path.insert(0, str(Path(__file__).parents[2]))
    from activities.mail.reading import read

    raw = sys.stdin.buffer.read()
    try:
        sys.stdout.write(read(raw, datetime.fromisoformat(sys.argv[3])).model_dump_json())
    except Exception as error:
        # Malformed mail may make a parser raise any exception; all of them mean the same.
        json.dump({"error": type(error).__name__}, sys.stdout)
