"""What an agent will need before it is done, and what of it is missing."""

from __future__ import annotations

from pydantic import BaseModel, Field

from common.agents.fields import LocalPath


class Place(BaseModel, frozen=True):
    """A file or folder that has to be there, called by the field of the input that names it.

    `folder` wants a folder, `writes` one in which files can be written.
    """

    field: str
    path: LocalPath
    folder: bool = True
    writes: bool = False


class Needs(BaseModel, frozen=True):
    """What an agent will need. The object store goes without saying.

    Attributes:
        mail: letters can be sent.
        answers: what people answer to letters comes in.
        search: there is a search provider.
        broker: a broker answers and takes the credentials.
        model: the language model of that name can be asked, the one of the settings where empty.
        sites: of these addresses at least one may be reached.
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
    """What is missing, each in a line that says what mends it, a setting for example."""

    reasons: tuple[str, ...] = ()
