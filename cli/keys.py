"""`starter.py keys rotate`: puts new keys first in the data folder's key files."""

from __future__ import annotations

from cli.output import CommandError, print_document, say
from common.key_ring import rotate
from common.settings import Settings
from common.temporal.codec import key_file


def rotate_keys(settings: Settings, *, as_json: bool) -> None:
    """Rotate the encryption and signing keys that this data folder has in files.

    Raises:
        CommandError: keys come from the environment, or there is no file to rotate.
        SettingsError: a file holds something other than keys.
    """
    for given, variable in (
        (settings.state.payload_keys, "HIBERNAUT_PAYLOAD_KEYS"),
        (settings.approval_keys, "HIBERNAUT_APPROVAL_KEYS"),
    ):
        if given:
            raise CommandError(
                f"{variable} gives the keys, and no command can change it: put a new one last "
                "everywhere, then first everywhere."
            )
    payload, approval = key_file(settings), settings.data_dir / "approval.keys"
    rotated = {}
    # A first key would turn encryption on for agents already running; do that only if it was asked for.
    if payload.exists() or settings.state.encryption in ("on", "migrate"):
        rotated["payload"] = rotate(payload)
    if approval.exists():
        rotated["approval"] = rotate(approval)
    if not rotated:
        raise CommandError(
            f"there is no key file in {settings.data_dir}: `starter.py dev` writes {approval.name}, and "
            f"{payload.name} where HIBERNAUT_ENCRYPTION is on."
        )
    if as_json:
        print_document(rotated)
    for use, id in rotated.items():
        say(f"new {use} key {id}; the older ones still count.")
