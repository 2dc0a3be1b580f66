"""Builds an agent's input from command-line words; an error names the word and what its field takes."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pydantic import BaseModel, JsonValue, TypeAdapter, ValidationError
from pydantic.fields import FieldInfo

from cli.output import CommandError, clean, flat, print_document
from common.agents.agent import AgentInput
from common.agents.fields import holds_path
from common.agents.kinds import KINDS, Kind
from common.approval.floors import Floors
from common.settings import Settings
from common.temporal.connect import StackAddress


class Field(BaseModel):
    """A field of an agent's input, as `agents` lists it; `default` is None where required."""

    name: str
    type: str
    required: bool
    default: JsonValue = None
    description: str = ""


def kind_named(name: str) -> Kind:
    """The kind with that name.

    Raises:
        CommandError: the kind does not exist; the message lists the kinds.
    """
    if name not in KINDS:
        raise CommandError(f"there is no kind {name!r}; there are: {', '.join(KINDS)}.")
    return KINDS[name]


def fields_of(kind: Kind) -> list[Field]:
    """The fields a user can set: required ones first, then the kind's own, then those of every agent."""
    schema = kind.input.model_json_schema()
    fields = [
        Field(
            name=name,
            type=_type_words(part, schema.get("$defs", {})),
            required=name in schema.get("required", ()),
            default=_default(kind, name),
            description=part.get("description", ""),
        )
        for name, part in schema["properties"].items()
    ]
    own = kind.input.__annotations__
    return sorted(
        fields, key=lambda field: (not field.required, _model_field(kind, field.name)[0] not in own)
    )


def print_kinds(floors: Floors, owner: str, *, as_json: bool) -> None:
    """Print each kind, what it takes, and what the operator's policy says for agents of ``owner``.

    Raises:
        SettingsError: the policy cannot be read.
    """
    rules = {name: floors.rule(name, owner) for name in KINDS}
    if as_json:
        print_document(
            [
                {
                    "kind": kind.name,
                    "summary": kind.summary,
                    "fields": fields_of(kind),
                    "policy": rules[kind.name].shown,
                }
                for kind in KINDS.values()
            ]
        )
        return
    for kind in KINDS.values():
        print(f"{kind.name}: {kind.summary}")
        print(clean(f"  policy for {owner or 'nobody'}: {rules[kind.name].in_words}"))
        for field in fields_of(kind):
            default = "required" if field.required else f"default {json.dumps(field.default)}"
            print(f"  {field.name:<16} {field.description}\n  {'':<16} {field.type}; {default}")


def read_input(
    kind: Kind, source: str | None, words: Iterable[str], base: AgentInput | None = None
) -> AgentInput:
    """The input of an agent from a JSON file and `k=v` words; a word overrides the file.

    Args:
        kind: the kind of agent.
        source: path of a JSON file, `-` for stdin, or None. Relative paths in the file start from its folder,
            others from the current one.
        words: `name=value` each. A value is parsed as JSON if that fits the field, else taken as text.
        base: an input to change.

    Raises:
        CommandError: a value does not fit; the message names the field and what it takes.
    """
    given = _read_json(source) if source else {}
    values = base.model_dump(mode="json", by_alias=True, exclude={"carried"}) if base else {}
    values |= given
    for name in given:
        _known(kind, name)
    for name, text in split_words(words, "--set"):
        _known(kind, name)
        values[name] = _field_value(kind, name, text)
    # Paths in a file are relative to that file, wherever the command runs.
    home = Path(source).expanduser().absolute().parent if source and source != "-" else Path()
    for name, part in kind.input.model_json_schema()["properties"].items():
        value = values.get(name)
        if isinstance(value, str) and holds_path(part, value):
            base_folder = home if value == given.get(name) else Path()
            values[name] = str((base_folder / Path(value).expanduser()).absolute())
    missing = [field.name for field in fields_of(kind) if field.required and field.name not in values]
    if missing:
        raise CommandError(
            f"{kind.name} needs {', '.join(missing)}: give it with --set {missing[0]}=… "
            "(`starter.py agents` says what it takes)."
        )
    try:
        return kind.input.model_validate(values)
    except ValidationError as error:
        raise CommandError(f"{flat(error)} (`starter.py agents` says what {kind.name} takes).") from None


def check_files(settings: Settings, input: AgentInput) -> None:
    """Check that the files an input names exist, if the worker runs on this machine (embedded stack).

    Raises:
        CommandError: a file does not exist; the message names the field and the path.
    """
    if StackAddress.find(settings) is None:
        return
    for field, path in input.named_files:
        if not os.path.exists(path):
            raise CommandError(f"{field}: there is no {path}: correct it, or put it there.")


def read_edits(words: Iterable[str]) -> dict[str, JsonValue]:
    """The edits from `k=v` words: each value parsed as JSON if possible, else taken as text."""
    return {name: _json_or_text(text) for name, text in split_words(words, "--edit")}


def split_words(words: Iterable[str], option: str) -> list[tuple[str, str]]:
    """Split each `name=value` into name and value."""
    pairs = []
    for word in words:
        name, equals, value = word.partition("=")
        if not equals or not name:
            raise CommandError(f"{word!r} is no name=value, as {option} takes it.")
        pairs.append((name.strip(), value))
    return pairs


def _known(kind: Kind, name: str) -> None:
    names = [field.name for field in fields_of(kind)]
    if name not in names:
        raise CommandError(f"{kind.name} has no field {name!r}; its fields: {', '.join(names)}.")


def _field_value(kind: Kind, name: str, text: str) -> JsonValue:
    adapter: TypeAdapter[Any] = TypeAdapter(_model_field(kind, name)[1].rebuild_annotation())
    for candidate in (_json_or_text(text), text):
        try:
            adapter.validate_python(candidate)
        except ValidationError as error:
            problem = flat(error)
        else:
            return candidate
    takes = next(field.type for field in fields_of(kind) if field.name == name)
    raise CommandError(f"--set {name}={text}: {problem}; it takes {takes}.")


def _json_or_text(text: str) -> JsonValue:
    try:
        value: JsonValue = json.loads(text)
    except (ValueError, RecursionError):
        return text
    return value


def _read_json(source: str) -> dict[str, JsonValue]:
    try:
        text = sys.stdin.read() if source == "-" else Path(source).expanduser().read_text()
        values = json.loads(text)
    except (OSError, UnicodeDecodeError) as error:
        raise CommandError(
            f"--input {source}: {getattr(error, 'strerror', None) or 'not UTF-8 text'}."
        ) from None
    except (ValueError, RecursionError) as error:
        raise CommandError(f"--input {source}: not JSON: {error}.") from None
    if not isinstance(values, dict):
        raise CommandError(f'--input {source}: give one JSON object, as in {{"field": value}}.')
    return values


def _model_field(kind: Kind, name: str) -> tuple[str, FieldInfo]:
    """The field users know by this name, and its name in the model: it differs for Python keywords."""
    fields = kind.input.model_fields
    return next((own, field) for own, field in fields.items() if name == (field.alias or own))


def _default(kind: Kind, name: str) -> JsonValue:
    _, field = _model_field(kind, name)
    if field.is_required():
        return None
    default: JsonValue = TypeAdapter(Any).dump_python(
        field.get_default(call_default_factory=True, validated_data={}), mode="json"
    )
    return default


_WORDS = {
    "boolean": "true or false",
    "integer": "a whole number",
    "number": "a number",
    "string": "text",
    "null": "null",
    "object": "a JSON object",
    "duration": "a duration (2d, 1h30m, P2D, 12:00:00, or seconds)",
    "date-time": "a time (2026-11-23T10:00:00Z)",
    "path": "a path",
    "decimal": "a number above 0",
    "share": "a share, such as 1% or 0.01",
    "path-or-address": "a path or an address",
}


def _type_words(part: dict[str, Any], named: dict[str, Any]) -> str:
    if "anyOf" in part:
        return " or ".join(_type_words(choice, named) for choice in part["anyOf"])
    part = named.get(part.get("$ref", "").rpartition("/")[2], part)
    if "enum" in part:
        return "one of " + ", ".join(map(str, part["enum"]))
    if part.get("type") == "array":
        return "a list, as a,b or JSON"
    return _WORDS.get(part.get("format", "")) or _WORDS.get(part.get("type", ""), "JSON")
