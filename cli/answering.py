"""Who answers a question from this shell, for commands that can be pasted."""

from __future__ import annotations

from collections.abc import Callable

from common.approval.groups import Directory
from common.approval.types import ApprovalRequest
from common.settings import Settings, SettingsError

# Whom `--as` has to name; empty where it is the user.
Answers = Callable[[ApprovalRequest], str]


def answers_of(settings: Settings) -> Answers:
    """Says of a request who may decide it: the user if they may, else the first who does."""

    def who(request: ApprovalRequest) -> str:
        policy, voted = request.policy, {vote.decision.by for vote in request.votes}
        try:
            directory = Directory.load(settings)
            for name in (settings.user, *directory.people(request.deciders)):
                barred = policy.bars(
                    name,
                    directory.groups_of(name),
                    requester=request.requester,
                    escalated=request.escalated,
                )
                if not barred and name not in voted:
                    return "" if name == settings.user else name
        except SettingsError:
            pass
        return ""  # nobody, or nobody can say

    return who
