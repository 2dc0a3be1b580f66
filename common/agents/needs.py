"""What an agent will need before it is done, and what is missing."""

from __future__ import annotations

from pydantic import BaseModel, Field

from common.agents.fields import LocalPath


class Place(BaseModel, frozen=True):
    """A file or folder that must exist, with the name of the input field that names it.

    `folder`: it must be a folder; `writes`: files must be writable in it.
    """

    field: str
    path: LocalPath
    folder: bool = True
    writes: bool = False


class Needs(BaseModel, frozen=True):
    """What an agent will need, besides the object store.

    Attributes:
        mail: letters can be sent.
        answers: people's answers to letters are received.
        search: there is a search provider.
        broker: a broker answers and accepts the credentials.
        model: the language model of this name can be asked; if empty, the one in the settings.
        sites: at least one of these addresses may be reached.
        addresses: each of these may be reached.
        places: files and folders.
    """

    mail: bool = False
    answers: bool = Field(False, exclude_if=lambda answers: not answers)
    search: bool = False
    broker: bool = False
    model: str | None = None
    sites: tuple[str, ...] = ()
    addresses: tuple[str, ...] = ()
    places: tuple[Place, ...] = ()


class Missing(BaseModel, frozen=True):
    """What is missing, a line for each, with what to do about it, such as a setting."""

    reasons: tuple[str, ...] = ()
