"""page"""

from cli.rehearsal.story import Rehearsed


def page_of(rehearsed: Rehearsed) -> str:
    return ""
