"""The form that starts an agent: a field for each of its input, made from the input's JSON schema."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from fastapi.exceptions import RequestValidationError
from pydantic import JsonValue

from common.agents.agent import AgentInput
from common.agents.kinds import KINDS, Kind
from common.approval.values import label_of
from common.grammar import UnreadableTimeError, parse_span, short

# Longer texts get more than a line.
LONG = 500
HINTS = {
    "duration": "such as 2d or 1h30m",
    "path": "a whole path, from /",
    "path-or-address": "a whole path, from /, or an address",
    "share": "such as 1% or 0.01",
}


@dataclass(frozen=True)
class StartField:
    """A field: what it takes, its text, and what was wrong with that.

    `kind` is tick, choice, list, json, lines, number, duration or text. `own` says that it is of this kind of
    agent, and not one that many have.
    """

    name: str
    kind: str
    help: str
    required: bool
    own: bool
    default: str
    choices: Sequence[str] = ()
    hint: str = ""
    text: str = ""
    problems: list[str] = field(default_factory=list)

    @property
    def label(self) -> str:
        """Its name for people."""
        return label_of(self.name)

    @property
    def id(self) -> str:
        """The id of the control; the problem's and the help's begin with it."""
        return f"field-{self.name}"


@dataclass(frozen=True)
class StartForm:
    """The fields in the order of the page, and what was wrong with none of them in particular."""

    fields: list[StartField]
    problem: str = ""

    @property
    def groups(self) -> list[tuple[str, bool, list[StartField]]]:
        """The optional fields with a heading, and whether the page shows them unfolded."""
        found = []
        for words, own in (
            ("More about this agent", True),
            ("Who approves, and other common settings", False),
        ):
            fields = [each for each in self.fields if not each.required and each.own is own]
            if fields:
                touched = any(each.problems or each.text != each.default for each in fields)
                found.append((words, touched, fields))
        return found


def empty_form(kind: Kind) -> StartForm:
    """The form with the defaults filled in."""
    return StartForm(_fields_of(kind, {}))


def form_like(kind: Kind, input: AgentInput) -> StartForm:
    """The form filled in with what an agent was started with."""
    values = input.model_dump(mode="json", by_alias=True, exclude={"carried"})
    return StartForm(_fields_of(kind, values))


def given_form(kind: Kind, form: Mapping[str, str], error: Exception) -> StartForm:
    """The form as it was sent, with what was wrong beside the fields that it was wrong in."""
    fields = [
        _with(each, text=form.get(each.name, "").replace("\r\n", "\n")) for each in _fields_of(kind, {})
    ]
    by_name = {each.name: each for each in fields}
    rest = []
    for place, words in _flaws(error):
        name, *deeper = place or ("",)
        if name in by_name:
            where = f"line {deeper[0] + 1}: " if deeper and by_name[name].kind == "list" else ""
            where = where or "".join(f"{part}: " for part in deeper)
            by_name[name].problems.append(where + words)
        else:
            rest.append(words)
    if not rest and any(each.problems for each in fields):
        rest.append("Some fields have to be changed; each says how.")
    return StartForm(fields, "; ".join(rest))


def read_values(kind: Kind, form: Mapping[str, str]) -> dict[str, JsonValue]:
    """What the form gives, as JSON; what is left empty is left out, and has its default.

    Raises:
        RequestValidationError: something that is to be JSON is not.
    """
    values: dict[str, JsonValue] = {}
    flaws = []
    for each in _fields_of(kind, {}):
        text = form.get(each.name, "").replace("\r\n", "\n").strip()
        if each.kind == "tick":
            values[each.name] = bool(text)
        elif text:
            try:
                values[each.name] = _read(each, text)
            except (ValueError, RecursionError) as error:
                flaws.append({"loc": (each.name,), "msg": f"not JSON: {error}"})
    if flaws:
        raise RequestValidationError(flaws)
    return values


def _read(field: StartField, text: str) -> JsonValue:
    match field.kind:
        case "list":
            return [line.strip() for line in text.split("\n") if line.strip()]
        case "json":
            found: JsonValue = json.loads(text)
            return found
        case "number":
            digits = text.removeprefix("-")
            # What is no number stays as it was typed: the input's own check says so best.
            return int(text) if digits.isascii() and digits.isdigit() and len(digits) < 20 else text
    return text


def _flaws(error: Exception) -> list[tuple[tuple[Any, ...], str]]:
    """Place and words of everything that was wrong."""
    if isinstance(error, RequestValidationError):
        return [(tuple(each["loc"]), str(each["msg"])) for each in error.errors()]
    words = str(error)
    # A path that the owner may not use: the message begins with its field.
    name, colon, rest = words.partition(": ")
    return [((name,), rest)] if colon and name.isidentifier() else [((), words)]


def _fields_of(kind: Kind, values: Mapping[str, JsonValue]) -> list[StartField]:
    """The fields, those required first; with `values` their texts are of these, without of the defaults."""
    schema = kind.input.model_json_schema()
    own = kind.input.__annotations__
    names = {field.alias or name: name for name, field in kind.input.model_fields.items()}
    fields = []
    for name, part in schema["properties"].items():
        shape = _shape(part, schema.get("$defs", {}))
        control = _control(name, shape)
        default = _as_text(control, part.get("default"))
        fields.append(
            StartField(
                name=name,
                kind=control,
                help=part.get("description", ""),
                required=name in schema.get("required", ()),
                own=names[name] in own,
                default=default,
                choices=_choices(name, shape),
                hint=HINTS.get(shape.get("format", ""), ""),
                text=_as_text(control, values[name]) if name in values else default,
            )
        )
    return sorted(fields, key=lambda each: (not each.required, not each.own))


def _shape(part: dict[str, Any], named: dict[str, Any]) -> dict[str, Any]:
    """The schema of what a field holds when it holds something."""
    for choice in part.get("anyOf", ()):
        if choice.get("type") != "null":
            return _shape(choice, named)
    found: dict[str, Any] = named.get(part.get("$ref", "").rpartition("/")[2], part)
    return found


def _choices(name: str, shape: dict[str, Any]) -> tuple[str, ...]:
    # The kind of a batch is a plain text to whoever reads its input; which kinds there are is known here.
    return tuple(KINDS) if name == "kind" else tuple(map(str, shape.get("enum", ())))


def _control(name: str, shape: dict[str, Any]) -> str:
    if _choices(name, shape):
        return "choice"
    match shape.get("type"):
        case "boolean":
            return "tick"
        case "integer" | "number":
            return "number"
        case "array":
            return "list" if shape.get("items", {}).get("type") == "string" else "json"
        case "object":
            return "json"
    if shape.get("format") == "duration":
        return "duration"
    return "lines" if shape.get("maxLength", 0) > LONG else "text"


def _as_text(control: str, value: JsonValue) -> str:
    if value is None or value == []:
        return ""
    match control:
        case "tick":
            return "yes" if value else ""
        case "json":
            return json.dumps(value, indent=2, ensure_ascii=False)
        case "list":
            return "\n".join(map(str, value)) if isinstance(value, list) else str(value)
        case "duration":
            try:
                return short(parse_span(str(value)))
            except UnreadableTimeError:
                return str(value)
    return str(value)


def _with(field: StartField, **changes: Any) -> StartField:
    return StartField(**{**vars(field), "problems": [], **changes})
