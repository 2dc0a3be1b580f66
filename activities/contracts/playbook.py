"""The playbook: which clauses to find, what is acceptable and what needs a human. YAML, typed."""

from __future__ import annotations

from decimal import Decimal
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Literal, Self

import yaml
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    model_validator,
)

from activities.contracts.facts import Duration, durations
from activities.contracts.phrases import Phrase, PhraseError, words_of
from common.agents.contracts import Severity, Verdict
from common.error_message import ErrorMessage

DEFAULT = Path(__file__).with_name("playbook.yaml")
MAX_BYTES = 200_000
_MAX_DEPTH = 12
_MAX_NODES = 20_000
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class PlaybookError(ValueError):
    """A playbook that cannot be used; the message says where and why, in one line."""


def _a_phrase(text: str) -> str:
    try:
        Phrase.read(text)
    except PhraseError as error:
        raise ValueError(str(error)) from None
    return text


def _a_duration(text: str) -> str:
    read_duration(text)
    return text


def read_duration(text: str) -> Duration:
    """Read a duration such as `30 days` or `12 months`.

    Raises:
        ValueError: it is not one.
    """
    found = list(durations(words_of(text), text))
    if len(found) != 1 or found[0].text != text.strip():
        raise ValueError("a duration is written like 30 days or 12 months")
    return found[0]


def _text(value: object) -> object:
    # YAML reads `12` as a number, but as a phrase it is text.
    return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else value


Id = Annotated[
    str,
    Field(pattern=r"^[a-z][a-z0-9_-]{0,39}$"),
    ErrorMessage("must be at most 40 of small letters, digits, '_' and '-', the first a letter"),
]
Currency = Annotated[str, Field(pattern="^[A-Z]{3}$"), ErrorMessage("must be a currency's code such as USD")]
Words = Annotated[str, Field(min_length=1, max_length=300)]
PhraseText = Annotated[str, BeforeValidator(_text), Field(max_length=200), AfterValidator(_a_phrase)]
PhraseTexts = Annotated[tuple[PhraseText, ...], Field(max_length=200)]
DurationText = Annotated[str, BeforeValidator(_text), Field(max_length=40), AfterValidator(_a_duration)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class _Rule(_Strict):
    """What all rules have in common.

    `title` says in a few words what is wrong if the rule is broken, `why` what that means for the reader.
    """

    id: Id
    title: Words
    why: Annotated[str, Field(max_length=1000)] = ""
    severity: Severity = Severity.MEDIUM
    verdict: Literal[Verdict.NEEDS_HUMAN, Verdict.NOT_ACCEPTABLE] = Verdict.NEEDS_HUMAN


class Present(_Rule):
    """The clause has to be there."""

    check: Literal["present"]


class Absent(_Rule):
    """The clause may not be there."""

    check: Literal["absent"]


class Says(_Rule):
    """The clause has to say one of `any`."""

    check: Literal["says"]
    any: Annotated[PhraseTexts, Field(min_length=1)]


class SaysNot(_Rule):
    """The clause may not say any of `any`, except in a sentence that also says one of `unless`."""

    check: Literal["says_not"]
    any: Annotated[PhraseTexts, Field(min_length=1)]
    unless: PhraseTexts = ()


class Mutual(_Rule):
    """The clause has to bind both: `one_sided` without any of `both` in the clause is a finding."""

    check: Literal["mutual"]
    one_sided: Annotated[PhraseTexts, Field(min_length=1)]
    both: Annotated[PhraseTexts, Field(min_length=1)]


class _Bounds(_Rule):
    """`near`: only figures count that one of these phrases matches as `#`, or whose sentence contains one.

    `unsaid`: if there is no such figure, that is a finding, too.
    """

    near: PhraseTexts = ()
    unsaid: bool = False

    @property
    def bounds(self) -> tuple[object, object]:
        return getattr(self, "at_least", None), getattr(self, "at_most", None)

    @model_validator(mode="after")
    def _is_bounded(self) -> Self:
        if self.bounds == (None, None):
            raise ValueError("at_least or at_most is needed")
        return self


class DurationRule(_Bounds):
    """A duration in days, weeks, months or years."""

    check: Literal["duration"]
    at_least: DurationText | None = None
    at_most: DurationText | None = None


class AmountRule(_Bounds):
    """An amount of money; for a currency that is not listed, a human is asked."""

    check: Literal["amount"]
    at_least: dict[Currency, Decimal] | None = None
    at_most: dict[Currency, Decimal] | None = None


class PercentRule(_Bounds):
    """A percentage."""

    check: Literal["percent"]
    at_least: Decimal | None = None
    at_most: Decimal | None = None


class FeesRule(_Bounds):
    """A multiple of the fees, expressed in months of fees: `fees paid in the twelve months before`."""

    check: Literal["fees"]
    at_least: DurationText | None = None
    at_most: DurationText | None = None


class LawRule(_Rule):
    """Whose law or courts are acceptable. `refused` ones are not acceptable, all others need a human."""

    check: Literal["law"]
    allowed: Annotated[tuple[Words, ...], Field(max_length=200)] = ()
    refused: Annotated[tuple[Words, ...], Field(max_length=200)] = ()


Rule = Annotated[
    Present | Absent | Says | SaysNot | Mutual | DurationRule | AmountRule | PercentRule | FeesRule | LawRule,
    Field(discriminator="check"),
]


CHECKS = ("present", "absent", "says", "says_not", "mutual", "duration", "amount", "percent", "fees", "law")


class ClauseType(_Strict):
    """A kind of clause: how it is found, and the rules it is judged by.

    A heading with one of `headings` is enough, as is a block with one of `phrases`, or two of `hints`, and
    none of `not`. Below an outer heading that names the clause, one of `hints` is enough.
    `ask` is the question that a language model is asked about the clause, in addition to the rules.
    """

    id: Id
    title: Words
    headings: PhraseTexts = ()
    phrases: PhraseTexts = ()
    hints: PhraseTexts = ()
    never: PhraseTexts = Field((), alias="not")
    ask: Annotated[str, Field(max_length=1000)] = ""
    rules: Annotated[tuple[Rule, ...], Field(max_length=50)] = ()


class Category(_Strict):
    """A kind of agreement, recognised by phrases in its title or in its text."""

    id: Id
    title: Words
    titles: PhraseTexts = ()
    phrases: PhraseTexts = ()


class Playbook(_Strict):
    """What contracts are judged by."""

    name: Words
    clauses: Annotated[tuple[ClauseType, ...], Field(min_length=1, max_length=100)]
    categories: Annotated[tuple[Category, ...], Field(max_length=100)] = ()

    @model_validator(mode="after")
    def _has_no_id_twice(self) -> Self:
        for what, ids in (
            ("clause", [each.id for each in self.clauses]),
            ("category", [each.id for each in self.categories]),
            *((f"rule of {each.id}", [rule.id for rule in each.rules]) for each in self.clauses),
        ):
            twice = sorted({each for each in ids if ids.count(each) > 1})
            if twice:
                raise ValueError(f"the {what} {twice[0]} is there twice")
        return self


def read_playbook(data: bytes) -> Playbook:
    """Read a playbook from the bytes of a YAML file.

    Raises:
        PlaybookError: it cannot be used; the message names the place and quotes only names of fields.
    """
    if len(data) > MAX_BYTES:
        raise PlaybookError(f"over {MAX_BYTES:,} bytes")
    try:
        text = data.decode("utf-8-sig")
        _check_size(text)
        document = yaml.load(text, Loader=_LOADER)  # noqa: S506 -- a safe loader
    except PlaybookError:
        raise
    except UnicodeDecodeError:
        raise PlaybookError("not UTF-8") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        raise PlaybookError(f"no YAML{f' (line {mark.line + 1})' if mark else ''}") from None
    except (ValueError, RecursionError, OverflowError):
        raise PlaybookError("no YAML that is read here") from None
    try:
        return Playbook.model_validate(document)
    except ValidationError as error:
        raise PlaybookError(_flaw(error, document)) from None


def _check_size(text: str) -> None:
    """Refuse aliases, deep nesting and too many nodes, before anything is built."""
    depth = 0
    for nodes, event in enumerate(yaml.parse(text, Loader=_LOADER)):
        if isinstance(event, yaml.AliasEvent):
            raise PlaybookError(f"line {event.start_mark.line + 1}: aliases are not read")
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        if depth > _MAX_DEPTH or nodes > _MAX_NODES:
            raise PlaybookError(f"line {event.start_mark.line + 1}: nested too deep, or too much of it")


def _flaw(error: ValidationError, document: object) -> str:
    """The first flaw: where it is, by the ids in the playbook, and why it is one."""
    flaw = error.errors(include_url=False, include_input=False, include_context=False)[0]
    where, at = [], document
    for step in flaw["loc"]:
        if isinstance(at, dict) and step in at:
            at = at[step]
            where.append(str(step))
        elif isinstance(at, list) and isinstance(step, int) and step < len(at):
            at = at[step]
            id = at.get("id") if isinstance(at, dict) else None
            where[-1] += f"[{id if isinstance(id, str) and len(id) <= 40 and id.isprintable() else step}]"
        elif flaw["type"] in ("missing", "extra_forbidden") or not isinstance(at, dict | list):
            where.append(str(step)[:40])
    # The file's content is never quoted: somebody may have named any file.
    own = {"extra_forbidden": "unknown field", "union_tag_invalid": f"check is none of {', '.join(CHECKS)}"}
    why = own.get(flaw["type"]) or flaw["msg"].removeprefix("Value error, ")
    return f"{'.'.join(where) or 'the file'}: {why}"[:300]


@lru_cache(1)
def default_playbook() -> Playbook:
    """The playbook that comes with Hibernaut."""
    return read_playbook(DEFAULT.read_bytes())
