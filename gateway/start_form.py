"""The form that starts an agent: a field for each field of its input, from the input's JSON schema."""

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
from gateway.record_table import as_table, read_table

TABLE = "a table, as copied from a spreadsheet; its first line names the columns, of: {}"
# Texts that may be longer get a multi-line field.
LONG = 500
HINTS = {
    "duration": "such as 2d or 1h30m",
    "path": "a whole path, from /",
    "path-or-address": "a whole path, from /, or an address",
    "share": "such as 1% or 0.01",
}


@dataclass(frozen=True)
class StartField:
    """A field: what it takes, its text, and what was wrong with it.

    `kind` is tick, choice, list, table, json, lines, number, duration or text. `own`: this kind of agent
    defines the field; others are common to many. `central`: it, or the record it is in, is required. A field
    of a record has a dotted name, such as `role.title`.
    """

    name: str
    kind: str
    help: str
    required: bool
    central: bool
    own: bool
    default: str
    choices: Sequence[str] = ()
    columns: Sequence[str] = ()
    hint: str = ""
    text: str = ""
    problems: list[str] = field(default_factory=list)

    @property
    def label(self) -> str:
        """Its label for people."""
        return label_of(self.name.replace(".", ": "))

    @property
    def id(self) -> str:
        """The id of the control; ids of its problem and help begin with it."""
        return f"field-{self.name}"


@dataclass(frozen=True)
class StartForm:
    """The fields in page order, and a problem that belongs to no field."""

    fields: list[StartField]
    problem: str = ""

    @property
    def groups(self) -> list[tuple[str, bool, list[StartField]]]:
        """The optional fields under headings, and whether the page shows each group unfolded."""
        found = []
        for words, own in (
            ("More about this agent", True),
            ("Who approves, and other common settings", False),
        ):
            fields = [each for each in self.fields if not each.central and each.own is own]
            if fields:
                touched = any(each.problems or each.text != each.default for each in fields)
                found.append((words, touched, fields))
        return found


def empty_form(kind: Kind) -> StartForm:
    """The form with the defaults filled in."""
    return StartForm(_fields_of(kind, {}))


def form_like(kind: Kind, input: AgentInput) -> StartForm:
    """The form filled in with the input of an agent."""
    values = input.model_dump(mode="json", by_alias=True, exclude={"carried"})
    return StartForm(_fields_of(kind, values))


def given_form(kind: Kind, form: Mapping[str, str], error: Exception) -> StartForm:
    """The form as it was sent, with problems beside their fields."""
    fields = [
        _with(each, text=form.get(each.name, "").replace("\r\n", "\n")) for each in _fields_of(kind, {})
    ]
    by_name = {each.name: each for each in fields}
    rest = []
    for place, words in _flaws(error):
        name, *deeper = place or ("",)
        if name not in by_name and deeper:
            name, deeper = f"{name}.{deeper[0]}", deeper[1:]
        if name in by_name:
            unit = {"list": "line", "table": "row"}.get(by_name[name].kind)
            if unit and deeper:
                deeper[0] = f"{unit} {deeper[0] + 1}"
            by_name[name].problems.append("".join(f"{part}: " for part in deeper) + words)
        else:
            rest.append(words)
    if not rest and any(each.problems for each in fields):
        rest.append("Some fields have to be changed; each says how.")
    return StartForm(fields, "; ".join(rest))


def read_values(kind: Kind, form: Mapping[str, str]) -> dict[str, JsonValue]:
    """The form's values as JSON; empty fields are left out, so they get their defaults.

    Raises:
        RequestValidationError: a field that must be JSON or a table is not.
    """
    values: dict[str, Any] = {}
    flaws = []
    for each in _fields_of(kind, {}):
        text = form.get(each.name, "").replace("\r\n", "\n").strip()
        record, _, name = each.name.rpartition(".")
        into = values.setdefault(record, {}) if record else values
        if each.kind == "tick":
            into[name] = bool(text)
        elif text:
            try:
                into[name] = _read(each, text)
            except (ValueError, RecursionError) as error:
                words = f"not JSON: {error}" if isinstance(error, json.JSONDecodeError) else str(error)
                flaws.append({"loc": tuple(each.name.split(".")), "msg": words})
    if flaws:
        raise RequestValidationError(flaws)
    return values


def _read(field: StartField, text: str) -> JsonValue:
    match field.kind:
        case "list":
            return [line.strip() for line in text.split("\n") if line.strip()]
        case "table":
            return read_table(text, field.columns)
        case "json":
            found: JsonValue = json.loads(text)
            return found
        case "number":
            digits = text.removeprefix("-")
            # Pass anything else on as typed: the input's own validation explains it best.
            return int(text) if digits.isascii() and digits.isdigit() and len(digits) < 20 else text
    return text


def _flaws(error: Exception) -> list[tuple[tuple[Any, ...], str]]:
    """The place and message of each problem."""
    if isinstance(error, RequestValidationError):
        return [(tuple(each["loc"]), str(each["msg"])) for each in error.errors()]
    words = str(error)
    # For a path that the owner may not use, the message begins with the field's name.
    name, colon, rest = words.partition(": ")
    return [((name,), rest)] if colon and name.isidentifier() else [((), words)]


def _fields_of(kind: Kind, values: Mapping[str, Any]) -> list[StartField]:
    """The fields, required ones first; their texts come from `values`, or else are the defaults.

    A required record becomes one field for each of its own.
    """
    schema = kind.input.model_json_schema()
    named = schema.get("$defs", {})
    names = {field.alias or name: name for name, field in kind.input.model_fields.items()}
    fields = []
    for name, part in schema["properties"].items():
        required, own = name in schema.get("required", ()), names[name] in kind.input.__annotations__
        shape = _shape(part, named)
        if not required or "properties" not in shape:
            fields.append(_field(name, part, named, values, required=required, central=required, own=own))
            continue
        inside = {f"{name}.{inner}": value for inner, value in values.get(name, {}).items()}
        for inner, its in shape["properties"].items():
            needed = inner in shape.get("required", ())
            fields.append(
                _field(f"{name}.{inner}", its, named, inside, required=needed, central=True, own=own)
            )
    return sorted(fields, key=lambda each: (not each.central, not each.own))


def _field(
    name: str,
    part: dict[str, Any],
    named: dict[str, Any],
    values: Mapping[str, Any],
    *,
    required: bool,
    central: bool,
    own: bool,
) -> StartField:
    shape = _shape(part, named)
    columns = _columns(shape, named)
    control = "table" if columns else _control(name, shape)
    default = _as_text(control, part.get("default"), columns)
    help, hint = part.get("description", ""), HINTS.get(shape.get("format", ""), "")
    if columns:
        # The rest of the description is a JSON example for the shell.
        help, hint = help.partition("[")[0].rstrip(" :"), TABLE.format(", ".join(columns))
    return StartField(
        name=name,
        kind=control,
        help=help,
        required=required,
        central=central,
        own=own,
        default=default,
        choices=_choices(name, shape),
        columns=columns,
        hint=hint,
        text=_as_text(control, values[name], columns) if name in values else default,
    )


def _shape(part: dict[str, Any], named: dict[str, Any]) -> dict[str, Any]:
    """The schema of a field's non-null value."""
    for choice in part.get("anyOf", ()):
        if choice.get("type") != "null":
            return _shape(choice, named)
    found: dict[str, Any] = named.get(part.get("$ref", "").rpartition("/")[2], part)
    return found


def _columns(shape: dict[str, Any], named: dict[str, Any]) -> tuple[str, ...]:
    """The columns of a list of flat text records; empty if it is no such list."""
    inner = _shape(shape.get("items", {}), named).get("properties", {})
    flat = all(_shape(each, named).get("type") == "string" for each in inner.values())
    return tuple(inner) if flat else ()


def _choices(name: str, shape: dict[str, Any]) -> tuple[str, ...]:
    # A batch's `kind` is plain text in its schema; only here are the kinds known.
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


def _as_text(control: str, value: Any, columns: Sequence[str] = ()) -> str:
    if value is None or value == []:
        return ""
    match control:
        case "table":
            return as_table(value, columns)
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
