"""Small things that everything stands on."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, TypeAdapter, ValidationError
from temporalio.exceptions import ApplicationError

from common.agents.auditor import AuditInput
from common.agents.kinds import KINDS
from common.approval.groups import Directory
from common.approval.signing import Authority, Signer
from common.approval.types import ApprovalPolicy, Authorization, Decision, Verdict, Vote
from common.digest import digest
from common.errors import classify_error, permanent
from common.key_ring import KeyRing
from common.settings import Settings, SettingsError
from common.temporal import search_attributes
from tests.support.floors import action, floors
from workflows.core.agent import Agent
from workflows.replayer import workflow_classes

# An envelope is good for two weeks by the clock of who checks it.
NOW = datetime.now(UTC)


def settings(**environment: str) -> Settings:
    return Settings.read(environment)


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("HIBERNAUT_MODEL", "oracle"),
        ("HIBERNAUT_UNSIGNED", "yes"),
        ("HIBERNAUT_CACHED_AGENTS", "499"),
        ("HIBERNAUT_ENCRYPTION", "true"),
        ("HIBERNAUT_HTTP", "8080"),
        ("HIBERNAUT_PUBLIC_URL", "http://agents.example.com"),
        ("HIBERNAUT_OIDC_ISSUER", "http://issuer.example.com"),
        ("HIBERNAUT_OIDC_ALGORITHMS", "RS256,HS256"),
        ("HIBERNAUT_OIDC_ALGORITHMS", "none"),
        ("HIBERNAUT_HTTP_RATE", "0"),
    ],
)
def test_a_setting_that_cannot_be_used_is_named(variable: str, value: str) -> None:
    """One clear line, at start."""
    with pytest.raises(SettingsError, match=f"{variable}={value}"):
        settings(**{variable: value})


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("HIBERNAUT_ALLOWED_HOSTS", "10.0.0.0/40"),
        ("HIBERNAUT_USER_AGENT", "a\r\nX-Evil: 1"),
        ("HIBERNAUT_FETCH_RATE", "0"),
        ("HIBERNAUT_FETCH_RATE", "often"),
        ("HIBERNAUT_SEARCH", "searxng:file:///etc"),
    ],
)
def test_a_setting_of_the_fetcher_that_cannot_be_used_is_named(variable: str, value: str) -> None:
    """As above; an address or a header is not taken as it comes."""
    with pytest.raises(SettingsError, match=variable):
        settings(**{variable: value})


def test_settings_have_the_defaults_the_table_says() -> None:
    """The table is what docs print; an empty environment gives its defaults."""
    read = settings()
    assert read.data_dir == Path(".hibernaut").absolute()
    assert (read.task_queue, read.user, read.model) == ("hibernaut", "local", "offline")
    assert read.accept_unsigned is False


def test_a_digest_is_the_same_for_the_same_value_whatever_the_order_of_keys() -> None:
    """Canonical JSON."""
    assert digest({"a": 1, "b": [1, 2]}) == digest({"b": [1, 2], "a": 1})
    assert digest({"a": 1}) != digest({"a": "1"})


@given(st.text(max_size=3000), st.integers(4, 2100))
def test_a_fitted_value_is_legal_and_loses_nothing_where_it_fits(text: str, limit: int) -> None:
    """Over 2,048 bytes the server terminates the workflow."""
    cut = search_attributes.fit(text, limit)
    assert len(cut.encode()) <= limit
    if len(text.encode("utf-8", "replace")) <= limit:
        assert cut == text.encode("utf-8", "replace").decode().replace("\0", "?")


def test_a_keyword_is_no_longer_than_every_database_takes() -> None:
    """PostgreSQL and MySQL take 255 characters; a longer one fails there for ever, and nothing is shown."""
    assert len(search_attributes.fit("x" * 300)) <= 255
    assert len(search_attributes.fit("ö" * 300)) <= 255
    many = search_attributes.SEPARATOR.join(
        search_attributes.waiting_for_approval(f"ask-{number}", f"{number:064x}") for number in range(9)
    )
    read = search_attributes.parse_waiting_for_approvals(search_attributes.fit(many))
    assert [id for id, _ in read] == ["ask-0", "ask-1", "ask-2"][: len(read)]
    assert len(read) >= 2


@pytest.mark.parametrize("odd", ["\0", "\ud800"])
def test_a_fitted_value_is_one_that_every_database_holds(odd: str) -> None:
    """Visibility on PostgreSQL would retry for ever."""
    assert search_attributes.fit(f"a{odd}b") == "a?b"


@given(st.lists(st.text(max_size=300), max_size=60))
def test_a_fitted_list_keeps_the_newest(values: list[str]) -> None:
    """Together under the limit, the last ones kept, in order."""
    kept = search_attributes.fit_list(values)
    assert sum(len(each.encode()) for each in kept) <= search_attributes.MAX_BYTES
    assert kept == [search_attributes.fit(each, 200) for each in values[len(values) - len(kept) :]]


def test_what_an_agent_waits_for_can_be_read_back() -> None:
    """A door decides with no worker running: request and digest stand in the attribute."""
    shown = search_attributes.waiting_for_approval("apply-1", "ab" * 32)
    one, two = ("apply-1", "ab" * 32), ("send-2", "cd" * 32)
    both = search_attributes.SEPARATOR.join([shown, "time", search_attributes.waiting_for_approval(*two)])
    parse = search_attributes.parse_waiting_for_approvals
    assert parse(shown) == [one]
    assert parse(both) == [one, two]
    assert parse(both[:-1]) == [one]  # cut to fit: what is not whole is not there
    assert parse("time") == []
    assert parse(None) == []


def test_errors_are_sorted_in_one_place() -> None:
    """What no retry mends becomes non-retryable with a clear type; a bug stays retryable."""
    sorted_error = classify_error(FileNotFoundError("no such folder"))
    assert isinstance(sorted_error, ApplicationError)
    assert (sorted_error.type, sorted_error.non_retryable) == ("FileNotFoundError", True)
    bug = KeyError("x")
    told = classify_error(bug)
    assert isinstance(told, ApplicationError)
    assert (told.type, told.message, told.non_retryable) == ("KeyError", "KeyError", False)
    chosen = permanent("PathMissing", "x")
    assert classify_error(chosen) is chosen


def decision(**changes: object) -> Decision:
    fields: dict[str, object] = {
        "id": "1",
        "request_id": "r",
        "digest": digest({"x": 1}),
        "verdict": "approve",
        "by": "ann",
        "at": NOW,
    }
    return Decision.model_validate({**fields, **changes})


def test_every_field_of_a_decision_is_under_its_signature(tmp_path: Path) -> None:
    """Changing any field of a signed decision, or its agent, is noticed."""
    signer = Signer(KeyRing.of({"k1": b"1" * 32}))
    signed = signer.sign(decision(), "agent", NOW)
    assert signer.flaw(signed, "agent") is None
    changes: dict[str, object] = {
        "id": "2", "request_id": "s", "digest": "0", "verdict": Verdict.REJECT, "edits": {"a": 1},
        "by": "eve", "note": "n", "through": "web", "at": NOW + timedelta(1),
    }  # fmt: skip
    assert set(changes) == set(Decision.model_fields) - {"signature"}
    for field, value in changes.items():
        assert signer.flaw(signed.model_copy(update={field: value}), "agent") == (
            "the signature does not fit the decision"
        )
    assert signed.signature is not None
    later = signed.signature.model_copy(update={"expires_at": NOW + timedelta(days=999)})
    assert signer.flaw(signed.model_copy(update={"signature": later}), "agent")
    assert "another agent" in (signer.flaw(signed, "other") or "")
    odd = signed.signature.model_copy(update={"mac": "ü" * 64})
    assert signer.flaw(signed.model_copy(update={"signature": odd}), "agent")  # any text, and never an error


def test_keys_rotate(tmp_path: Path) -> None:
    """The first key signs; older ones still verify; a removed one does not."""
    old = Signer(KeyRing.of({"old": b"1" * 32})).sign(decision(), "a", NOW)
    signer = Signer(KeyRing.of({"new": b"2" * 32, "old": b"1" * 32}))
    assert signer.flaw(old, "a") is None
    fresh = signer.sign(decision(), "a", NOW)
    assert fresh.signature is not None
    assert fresh.signature.key_id == "new"
    assert "unknown key" in (Signer(KeyRing.of({"new": b"2" * 32})).flaw(old, "a") or "")


def test_the_embedded_stack_makes_a_key_that_only_its_user_can_read(tmp_path: Path) -> None:
    """Made once, mode 0600, read again by the next process."""
    here = settings(HIBERNAUT_DATA_DIR=str(tmp_path / "data"))
    signed = Signer.load(here, create=True).sign(decision(), "a", NOW)
    assert (tmp_path / "data" / "approval.keys").stat().st_mode & 0o777 == 0o600
    assert Signer.load(here, create=True).flaw(signed, "a") is None


@pytest.mark.parametrize("keys", ["k1:zz", "k1:abcd"])
def test_a_bad_key_names_the_setting(keys: str) -> None:
    """Not hexadecimal, or too short."""
    with pytest.raises(SettingsError, match="HIBERNAUT_APPROVAL_KEYS"):
        Signer.load(settings(HIBERNAUT_APPROVAL_KEYS=keys, HIBERNAUT_DATA_DIR="/nonexistent"))


class Errand(BaseModel):
    x: int
    y: int = 0


def test_only_an_approval_of_exactly_this_plan_authorizes() -> None:
    """What a destructive activity checks once more."""
    signer = Signer(KeyRing.of({"k": b"1" * 32}))
    plan = Errand(x=1)
    good = authorization(signer, plan)

    def flaw(
        changes: dict[str, object] | None = None, plan: Errand = plan, agent: str = "agent", **policy: object
    ) -> str:
        changed = good.model_copy(update=changes)
        changed = changed.model_copy(update={"policy": changed.policy.model_copy(update=policy)})
        with pytest.raises(ApplicationError) as refused:
            authority(signer).authorize(changed, plan, action(agent))
        assert (refused.value.type, refused.value.non_retryable) == ("NotAuthorized", True)
        return refused.value.message

    assert authority(signer).authorize(good, plan, action("agent")) is good
    with pytest.raises(ApplicationError, match="no approval"):
        authority(signer).authorize(None, plan, action("agent"))
    assert flaw(agent="other")
    assert flaw(plan=Errand(x=2)) == "the decision is for another plan"
    assert flaw({"key": f"agent:node:{digest(Errand(x=2))}"}) == "its key is for another action"
    assert flaw({"key": f"other:node:{digest(plan)}"}) == "its key is for another action"
    assert flaw(approvers=("bob",)) == "ann is not among those who may decide"
    assert "may not approve its plans" in flaw({"requester": "ann"})
    [vote] = good.votes
    unsigned = vote.model_copy(update={"decision": vote.decision.model_copy(update={"signature": None})})
    assert flaw({"votes": (unsigned,)}) == "unsigned"
    lax = authority(signer, accept_unsigned=True)
    assert lax.authorize(good.model_copy(update={"votes": (unsigned,)}), plan, action("agent"))
    rejected = signer.sign(vote.decision.model_copy(update={"verdict": Verdict.REJECT}), "agent", NOW)
    assert "not an approval" in flaw({"votes": (vote.model_copy(update={"decision": rejected}),)})


def test_a_quorum_is_counted_again_by_people(tmp_path: Path) -> None:
    """Two of three means two persons; a group's members are looked up when the action begins."""
    signer = Signer(KeyRing.of({"k": b"1" * 32}))
    plan = Errand(x=1)
    groups = tmp_path / "groups.json"
    groups.write_text('{"treasury": ["ann", "bob"]}')
    two = {"approvers": ("@treasury",), "quorum": 2}
    [ann], [bob] = (authorization(signer, plan, by=by, **two).votes for by in ("ann", "bob"))
    both = authorization(signer, plan, **two).model_copy(update={"votes": (ann, bob)})
    asked = authority(signer, groups)
    assert asked.authorize(both, plan, action("agent"))
    with pytest.raises(ApplicationError, match="1 of 2 approvals"):
        asked.authorize(both.model_copy(update={"votes": (ann, ann)}), plan, action("agent"))
    groups.write_text('{"treasury": ["ann"]}')
    os.utime(groups, ns=(1, 1))  # a file system with coarse times must not hide the change
    with pytest.raises(ApplicationError, match="bob is not among those"):
        asked.authorize(both, plan, action("agent"))


def test_an_edited_plan_is_authorized_with_exactly_the_edits_decided() -> None:
    """The digest is of the plan as shown; the edits are signed, and of fields that may be edited."""
    signer = Signer(KeyRing.of({"k": b"1" * 32}))
    shown, edited = Errand(x=1, y=1), Errand(x=1, y=5)
    good = authorization(signer, shown, edited, editable=("y",))
    assert authority(signer).authorize(good, edited, action("agent")) is good
    for wrong, told in (
        (Errand(x=1, y=6), "edits make of it"),
        (Errand(x=2, y=5), "another plan"),
    ):
        with pytest.raises(ApplicationError, match=told):
            authority(signer).authorize(good, wrong, action("agent"))
    with pytest.raises(ApplicationError, match="may not be edited"):
        authority(signer).authorize(
            authorization(signer, shown, edited, editable=()), edited, action("agent")
        )


def authorization(
    signer: Signer, shown: Errand, edited: Errand | None = None, *, by: str = "ann", **policy: Any
) -> Authorization:
    """Ann's good word for a plan, or for what her edit of `y` makes of it."""
    edits = {"y": edited.y} if edited else {}
    verdict = "revise" if edited else "approve"
    decided = decision(digest=digest(shown), verdict=verdict, edits=edits, by=by)
    vote = Vote(decision=signer.sign(decided, "agent", NOW), replaced={"y": shown.y} if edited else {})
    return Authorization(
        votes=(vote,),
        policy=ApprovalPolicy(**{"approvers": ("ann",), **policy}),
        requester="owner",
        key=f"agent:node:{digest(edited or shown)}",
    )


def authority(
    signer: Signer, groups: Path = Path("no-such-file"), *, accept_unsigned: bool = False
) -> Authority:
    return Authority(signer, Directory(groups), floors(groups=groups), accept_unsigned=accept_unsigned)


def test_lists_are_written_with_commas_on_the_command_line() -> None:
    """`--set exclude=a,b` is a list of two."""
    assert AuditInput.model_validate({"path": "/x", "exclude": "a, b,"}).exclude == ["a", "b"]
    with pytest.raises(ValidationError):
        TypeAdapter(AuditInput).validate_python({"path": ""})


def test_every_kind_has_a_workflow_of_its_name_and_input() -> None:
    """What the doors offer is what the worker runs."""
    from temporalio.workflow import _Definition

    agents = [each for each in workflow_classes() if issubclass(each, Agent)]
    definitions = [_Definition.must_from_class(each) for each in agents]
    found = {each.name: (each.arg_types or [None])[0] for each in definitions}
    assert found == {kind.name: kind.input for kind in KINDS.values()}
