"""A kind that cannot run is named before a worker takes work, with what to do about it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path

import pytest
from temporalio.worker.workflow_sandbox import RestrictedWorkflowAccessError

import worker
import workflows.check_kinds as check_kinds_module
from activities.batch.listing import BatchListing
from common.agents.kinds import KINDS, Kind
from common.failures import advice, code_place
from common.settings import Settings
from workflows.check_kinds import KindError, check_kinds

ROOT = Path(__file__).parents[2]
TEMPLATE = ROOT / "cli/new/template"
DELETE = "self._authority.authorize(request.authorization, request.plan, activity.info())"


@pytest.fixture
def said_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> Iterator[Callable[[str, str, str], str]]:
    """What is said of the agent that `starter.py new` writes where some words in a file of it are others."""
    monkeypatch.syspath_prepend(str(tmp_path))
    # The sandbox keeps what it has loaded under a name: each case has names of its own.
    prefix = f"tried{abs(hash(request.node.name))}_"

    def say(file: str, old: str, new: str) -> str:
        for each in TEMPLATE.glob("[a-z]*.py"):
            text = each.read_text()
            if each.stem == file:
                assert old in text
                text = text.replace(old, new, 1)
            (tmp_path / f"{prefix}{each.name}").write_text(text.replace("cli.new.template.", prefix))
        kind: Kind = import_module(f"{prefix}kind").KIND
        monkeypatch.setattr(check_kinds_module, "KINDS", {kind.name: kind})
        with pytest.raises(KindError) as error:
            check_kinds({"template_find", "template_delete"})
        return str(error.value).replace(prefix, "")

    yield say
    for each in [name for name in sys.modules if name.startswith(prefix)]:
        del sys.modules[each]


async def test_every_kind_can_run(tmp_path: Path) -> None:
    """On a worker as it is built; and none takes the place of another of its name."""
    settings = Settings.read({"HIBERNAUT_DATA_DIR": str(tmp_path)})
    check_kinds(worker.activity_names([*worker.activity_objects(settings), object.__new__(BatchListing)]))
    source = (ROOT / "common/agents/kinds.py").read_text()
    assert source.count("\n        Kind(\n") == len(KINDS)


@pytest.mark.parametrize(
    ("file", "old", "new", "words"),
    [
        ("workflow", "= self.memory", "= = self.memory", "SyntaxError: invalid syntax"),
        (
            "workflow",
            "from temporalio import",
            "import nosuch\nfrom temporalio import",
            "No module named 'nosuch'",
        ),
        (
            "workflow",
            "from temporalio import",
            "import httpx\nfrom temporalio import",
            "imports_passed_through",
        ),
        ("workflow", 'name="template"', 'name="other"', 'has @workflow.defn(name="other"); the two names'),
        ("workflow", '@workflow.defn(name="template")', "", "was it decorated with @workflow.defn?"),
        ("workflow", "    @workflow.init\n", "", "__init__ of TemplateAgent lacks @workflow.init"),
        (
            "workflow",
            "(input, TemplateMemory)",
            "(input)",
            "must call `super().__init__(input, TemplateMemory)`",
        ),
        ("inputs", "TemplateInput(AskingInput)", "TemplateInput(BaseModel)", "derive it from AgentInput"),
        ("workflow", "    @workflow.run\n", "", "Missing @workflow.run method"),
        ("workflow", "run(self, input: TemplateInput)", "run(self)", "parameters do not match"),
        ("workflow", "input: TemplateInput)", "input: TemplatePlan)", "parameters do not match"),
        ("kind", "workflow:TemplateAgent", "workflow:Nosuch", "has no attribute 'Nosuch'"),
        (
            "kind",
            "cli.new.template.inputs import",
            "common.agents.asking import AskingInput as",
            "`input: AskingInput`",
        ),
        ("inputs", "look_now: bool = False", "look_now: bool", "give look_now a default"),
        ("inputs", "look_now: bool = False", "look: object = object()", "its defaults have no JSON"),
        (
            "activities",
            '    @activity.defn(name="template_find")\n',
            "",
            "find is not an activity: decorate it",
        ),
        ("activities", 'name="template_find"', 'name="find"', "no worker has TemplateActivities.find"),
        ("activities", "find(self, request: FindRequest)", "find(self)", "find must take one argument"),
        ("activities", DELETE, "...", "delete acts without approval: call self._authority.authorize("),
    ],
)
async def test_what_keeps_a_kind_from_running_is_said_in_a_line(
    said_of: Callable[[str, str, str], str], file: str, old: str, new: str, words: str
) -> None:
    """Each mistake is named, with what to write instead, and not by a traceback."""
    said = said_of(file, old, new)
    assert said.startswith("the kind template: ")
    assert words in said
    assert "\n" not in said
    assert "If this is code" not in said
    assert ".py, line" not in said


@pytest.mark.parametrize(
    ("words", "instead"),
    [
        ("datetime.datetime.now.__call__", "workflow.now()"),
        ("datetime.date.today.__call__", "workflow.now()"),
        ("time.time.__call__", "workflow.now()"),
        ("time.sleep.__call__", "self.hibernate"),
        ("random.random.__call__", "workflow.random()"),
        ("uuid.uuid4.__call__", "workflow.uuid4()"),
        ("__builtins__.open", "do that in an activity"),
        ("pathlib.Path.read_text.__call__", "do that in an activity"),
    ],
)
def test_what_the_sandbox_refuses_is_said_with_what_to_write_instead(words: str, instead: str) -> None:
    said = advice(f"RestrictedWorkflowAccessError: {RestrictedWorkflowAccessError.default_message(words)}")
    name = words.removesuffix(".__call__")
    assert said.startswith(f"RestrictedWorkflowAccessError: no agent may use {name}: ")
    assert instead in said
    assert "pass through" not in said


def test_an_agent_that_does_not_yield_is_told_what_that_means() -> None:
    said = advice(
        "_DeadlockError: [TMPRL1101] Potential deadlock detected: workflow didn't yield within 8 second(s)."
    )
    assert said.startswith("_DeadlockError: the code did not `await` anything for 8 s: a loop")
    assert advice("KeyError: 'a'") == "KeyError: 'a'"


def test_the_place_of_an_error_is_the_agents_own_line() -> None:
    """And that of the kit, where no other is known; a library's is none."""
    kit = 'File "/a/workflows/core/calls.py", line 7, in call\n'
    trace = f'File "/a/workflows/tidy.py", line 31, in run\n{kit}File "/lib/json.py", line 1, in dumps\n'
    assert code_place(trace) == " (workflows/tidy.py:31)"
    assert code_place(kit) == " (workflows/core/calls.py:7)"
    assert code_place('File "/lib/json.py", line 1') == ""
