"""How plans and results are shown to people, declared with their fields.

    class Offer(BaseModel):
        price: Annotated[Decimal, Shown("Price", currency="EUR")]
        body: Annotated[str, Shown("The letter", form="text")]

        @property
        def total(self) -> Annotated[Decimal, Shown("The total", currency="EUR")]: ...

Declarations are optional: without one, a field is shown by its name and the form of its value. A property is
shown only if it is declared. None of this is signed; what is signed can always be seen in full beside it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import KW_ONLY, dataclass, replace
from datetime import datetime, timedelta
from decimal import Decimal
from functools import cache
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from pydantic import AwareDatetime, BaseModel

Form = Literal["", "text", "markdown", "diff", "share", "file"]


@dataclass(frozen=True)
class Shown:
    """How a field is shown.

    Attributes:
        label: its name for people; if empty, derived from the field's name.
        unit: what follows a number, such as `letters`.
        currency: what follows an amount of money, such as `USD`.
        form: `text` keeps its line breaks, `markdown` is rendered, `diff` is a unified diff, `share` a part
            of one, `file` the path of a file that the agent wrote, shown by its name.
        order: lower ones come first; equal ones in the order of their declaration.
        internal: shown only with the whole plan.
        heading: in a list of records, the heading of each.
        file: the artifact's file name when it is opened; its extension says how.
    """

    label: str = ""
    _: KW_ONLY
    unit: str = ""
    currency: str = ""
    form: Form = ""
    order: int = 0
    internal: bool = False
    heading: bool = False
    file: str = ""


PLAIN = Shown()


@dataclass(frozen=True)
class ShownField:
    """A field with how it is shown, and what its type is: a nested model, a number, a time.

    `derived`: it is a property, and not part of what is signed. `may_be_blank`: it may be empty, and is not
    shown then.
    """

    shown: Shown
    model: type[BaseModel] | None = None
    is_number: bool = False
    is_span: bool = False
    is_moment: bool = False
    derived: bool = False
    may_be_blank: bool = False


UNTYPED = ShownField(PLAIN)


@cache
def shown_fields(kind: type[BaseModel]) -> dict[str, ShownField]:
    """The fields and the shown properties of a type, in the order in which they are shown."""
    found = {
        name: replace(
            _field(field.annotation, field.metadata, derived=False), may_be_blank=field.default == ""
        )
        for name, field in kind.model_fields.items()
    }
    own = [each for each in reversed(kind.__mro__) if each is not BaseModel and issubclass(each, BaseModel)]
    for name, member in (pair for each in own for pair in vars(each).items()):
        if isinstance(member, property) and Shown in map(type, _metadata(member)):
            found[name] = _field(_hint(member), [], derived=True)
    return dict(sorted(found.items(), key=lambda pair: pair[1].shown.order))


def fits(kind: type[BaseModel], value: dict[str, Any]) -> bool:
    """Whether `value` has all fields that the type needs, and no others."""
    needed = {name for name, field in kind.model_fields.items() if field.is_required()}
    return needed <= set(value) <= set(kind.model_fields)


def _field(annotation: Any, metadata: list[Any], *, derived: bool) -> ShownField:
    parts = list(_parts(annotation))
    said = next((each for each in (*metadata, *parts) if isinstance(each, Shown)), PLAIN)
    classes = [each for each in parts if isinstance(each, type)]
    return ShownField(
        said,
        model=next((each for each in classes if issubclass(each, BaseModel)), None),
        is_number=any(issubclass(each, Decimal | float) for each in classes),
        is_span=any(issubclass(each, timedelta) for each in classes),
        is_moment=AwareDatetime in parts or any(issubclass(each, datetime) for each in classes),
        derived=derived,
    )


def _parts(hint: Any) -> Iterator[Any]:
    """The parts of an annotation: its types, and its metadata."""
    origin = get_origin(hint)
    if origin is Annotated:
        yield from hint.__metadata__
        yield from _parts(hint.__origin__)
    elif origin in (Union, UnionType, list, tuple):
        for each in get_args(hint):
            yield from _parts(each)
    else:
        yield hint


def _hint(member: property) -> Any:
    """The return annotation of a property; None if its types cannot be resolved here."""
    with suppress(NameError, TypeError):
        return get_type_hints(member.fget, include_extras=True).get("return")
    return None


def _metadata(member: property) -> tuple[Any, ...]:
    return getattr(_hint(member), "__metadata__", ())
