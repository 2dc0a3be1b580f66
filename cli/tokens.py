"""`starter.py tokens add|revoke`: who may use the gateway where no OIDC issuer signs people in."""

from __future__ import annotations

from collections.abc import Sequence

from cli.output import CommandError, ExitCode, print_document, say
from common.client.tokens import Scope, TokenFile
from common.names import UnusableValueError, check_person
from common.settings import Settings

# A token's default scopes: everything but other people's agents.
OWN = (Scope.READ, Scope.WRITE, Scope.DECIDE)


def add_token(settings: Settings, who: str, scopes: Sequence[Scope], *, as_json: bool) -> None:
    """Print a new token; the file keeps only its digest.

    Raises:
        CommandError: the name is invalid.
        SettingsError: the file is not valid.
    """
    try:
        check_person(who)
    except UnusableValueError as error:
        raise CommandError(str(error)) from None
    token = TokenFile.of(settings).add(who, scopes)
    if as_json:
        print_document({"subject": who, "scopes": sorted(scopes), "token": token})
    else:
        print(token)
    say(f"for {who}: {', '.join(sorted(scopes))}; it is shown this once.")


def revoke_tokens(settings: Settings, who: str, *, as_json: bool) -> None:
    """Delete all tokens of ``who``; sessions opened with them end with the next request.

    Raises:
        CommandError: ``who`` has no token.
        SettingsError: the file is not valid.
    """
    revoked = TokenFile.of(settings).revoke(who)
    if not revoked:
        raise CommandError(f"{who} has no token in {settings.data_dir}.", ExitCode.USAGE)
    if as_json:
        print_document({"subject": who, "revoked": revoked})
    say(f"{revoked} revoked.")
