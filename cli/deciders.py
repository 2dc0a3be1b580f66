"""Who can answer a question from this shell, so that printed commands can be pasted."""

from __future__ import annotations

from collections.abc import Callable

from common.approval.groups import Directory
from common.approval.types import ApprovalRequest
from common.settings import Settings, SettingsError

# Returns whom `--as` must name; empty if that is the user.
DeciderOf = Callable[[ApprovalRequest], str]


def decider_lookup(settings: Settings) -> DeciderOf:
    """Return a function that names who may decide a request: the user if allowed, else the first who is."""

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
        return ""  # nobody may, or the groups cannot be read

    return who
