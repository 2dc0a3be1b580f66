"""Seeds of what tests draw: always the same, so that no run fails by chance; fresh ones under `make soak`."""

from __future__ import annotations

import os
import random

from hypothesis import settings

FIXED = 8  # with it the chain machine's scripts meet everything several times


def seed(variable: str) -> int:
    """What the environment's variable says, else `FIXED`; a fresh one where Hypothesis, too, draws afresh.

    It is printed, so that what fails can be run again.
    """
    said = os.environ.get(variable)
    if said is None:
        fixed = settings.get_current_profile_name() == "ci"
        said = FIXED if fixed else random.SystemRandom().randrange(1, 2**31)
    print(f"{variable}={said}")
    return int(said)
