"""What every group of settings is made of."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta


class SettingsError(ValueError):
    """A setting that cannot be used; the message names it and says what to set."""


@dataclass(frozen=True)
class Setting:
    """One row of the settings table: environment variable, default as text, meaning."""

    variable: str
    default: str
    meaning: str


# A group reads its settings by this: the text of one, stripped, or its default.
Values = Callable[[Setting], str]


def one_of(setting: Setting, value: str, *choices: str) -> str:
    """``value``, if it is one of ``choices``.

    Raises:
        SettingsError: it is not.
    """
    if value not in choices:
        raise SettingsError(
            f"{setting.variable}={value[:100]}: say {', '.join(choices[:-1])} or {choices[-1]}."
        )
    return value


def duration(setting: Setting, value: str) -> timedelta:
    """``value`` as a time: a number with s, m, h or d behind it.

    Raises:
        SettingsError: it is none.
    """
    units = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
    number, unit = value[:-1], units.get(value[-1:])
    if not unit or not number.isdecimal() or len(number) > 6:
        raise SettingsError(f"{setting.variable}={value[:100]}: give a time such as 90s, 15m, 4h or 2d.")
    return timedelta(**{unit: int(number)})


def whole_number(setting: Setting, value: str, least: int) -> int:
    """``value`` as a whole number of at least ``least``.

    Raises:
        SettingsError: it is none.
    """
    if not value.isdecimal() or len(value) > 15 or int(value) < least:
        raise SettingsError(f"{setting.variable}={value[:100]}: give a whole number, {least} or more.")
    return int(value)
