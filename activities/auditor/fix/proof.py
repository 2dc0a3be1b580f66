"""Proves fixes on a copy of the tree, and leaves out those that break it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping

from activities.auditor.fix.copies import IMPORT_RULES, Copies
from activities.auditor.fix.ignores import per_file_ignores
from activities.auditor.fix.tree_copy import TreeCopy
from activities.auditor.records import PlannedFix
from activities.auditor.scan.programs import AnalyserFailed
from common.artifacts import ArtifactStore
from common.flaws import flaw_of

# For how many seconds the user's own check may be repeated to find the fixes that make it fail.
CHECKS_SECONDS = 2700.0
_NAMED = 20
_IMPORTS = (
    "Only imports from the standard library were removed, and none whose name another module, `__all__`, "
    "a doctest, a parameter or a string in the folder may use."
)


class Prover:
    """Proves the fixes of one plan; `words` say to people what was proven and how.

    Args:
        tree_copy: the copy, still empty.
        artifacts: where contents are stored.
        runs_code: whether the project's code may be run. If not, no import is removed either, because only
            running the code shows that nothing needs it.
    """

    def __init__(self, tree_copy: TreeCopy, artifacts: ArtifactStore, *, runs_code: bool) -> None:
        self._tree_copy, self._artifacts, self._runs_code = tree_copy, artifacts, runs_code
        self._whole = False
        self._verify, self._end = "", 0.0
        self.words: list[str] = []

    def copies(self, fixable: Mapping[str, set[str]], heartbeat: Callable[[], None]) -> Copies:
        """The copies for ruff to fix by these rules, without removing imports that something may need."""
        self._whole = self._tree_copy.fill()
        rules = set().union(*fixable.values())
        needed: dict[str, list[int]] = {}
        try:
            if not self._whole:
                raise AnalyserFailed("the folder is too large to copy")
            if not self._runs_code:
                raise AnalyserFailed("whether something needs it has to be tried, which is forbidden here")
            paths = [path for path, theirs in fixable.items() if theirs & IMPORT_RULES]
            needed = self._tree_copy.needed_imports(paths) if paths else {}
        except (AnalyserFailed, ValueError) as error:
            self.words.append(f"No import was removed: {_words(error)}.")
            rules -= IMPORT_RULES
        ignores = per_file_ignores(self._tree_copy.root, self._tree_copy.files, rules)
        return Copies(self._tree_copy.root, rules, needed, ignores, heartbeat)

    def prove(self, fixes: list[PlannedFix], verify: str) -> list[PlannedFix]:
        """The fixes that leave everything working.

        Args:
            fixes: what is planned, already made in the copy.
            verify: a shell command that has to pass in the copy, or empty.
        """
        self._verify = verify
        if not self._runs_code:
            tried = f"`{verify}` was not run" if verify else "no module was imported"
            self.words.append(f"The operator's policy forbids running the project's code, so {tried}.")
        elif fixes and self._whole:
            if any(IMPORT_RULES & fix.rules.keys() for fix in fixes):
                self.words.append(_IMPORTS)
            fixes = self._importable(fixes)
            fixes = self._checked(fixes) if self._verify and fixes else fixes
        return fixes

    def _importable(self, fixes: list[PlannedFix]) -> list[PlannedFix]:
        """The fixes with which every module that could be imported before still can be."""
        planned, neither = {fix.path: fix for fix in fixes}, set[str]()
        modules = [path for path in self._tree_copy.files if path.endswith(".py")]
        modules.sort(key=lambda path: (path not in planned, path))
        try:
            while True:
                left = [path for path in modules if path not in neither]
                changed = sum(path in planned for path in left)
                after = self._tree_copy.imports(left, changed, "after")
                failing = {path for path, loaded in after.items() if loaded is None}
                lost = self._lost(planned.values(), failing)
                neither |= failing - lost.keys()
                if lost:  # once more: it may have been the machine, not the fix
                    after |= self._tree_copy.imports(sorted(lost), len(lost), "after")
                    lost = {path: files for path, files in lost.items() if after[path] is None}
                if not lost or not planned:
                    break
                loaded = {path for files in lost.values() for path in files} | lost.keys()
                # If none of the fixed files was loaded, any of them may be to blame: drop all.
                for path in planned.keys() & loaded or set(planned):
                    self._restore([planned.pop(path)])
        except (AnalyserFailed, ValueError) as error:
            self.words.append(f"Whether modules can still be imported could not be tried: {_words(error)}.")
            return list(planned.values())
        tried = {path for files in after.values() for path in files or ()} & set(modules)
        tried |= {path for path, files in after.items() if files is not None}
        tried -= neither  # some load as part of others, and fail by themselves
        words = f"{len(tried):,} modules can be imported with the fixes as without"
        words += f", {len(neither):,} neither way" if neither else ""
        untried = len(modules) - len(tried) - len(neither)
        self.words.append(words + (f", {untried:,} were not tried for lack of time." if untried else "."))
        self._name(
            "Left out, because modules could no longer be imported",
            {fix.path for fix in fixes} - planned.keys(),
        )
        return list(planned.values())

    def _lost(self, fixes: Iterable[PlannedFix], failing: set[str]) -> dict[str, list[str]]:
        """The failing modules that can be imported without the fixes, with the files they load then."""
        if not failing:
            return {}
        self._restore(fixes)
        before = self._tree_copy.imports(sorted(failing), len(failing), "before")
        self._make(fixes)
        return {path: loaded for path, loaded in before.items() if loaded is not None}

    def _checked(self, fixes: list[PlannedFix]) -> list[PlannedFix]:
        """The fixes with which the user's own check passes."""
        self._restore(fixes)
        if not self._tree_copy.passes(self._verify):
            self.words.append(f"`{self._verify}` fails without any fix, so it proves nothing.")
            return fixes
        self._end = time.monotonic() + CHECKS_SECONDS
        passing = self._passing([], fixes)
        if passing:
            self.words.append(f"`{self._verify}` passes before the fixes and after them.")
        left_out = {fix.path for fix in fixes} - {fix.path for fix in passing}
        self._name(f"Left out, because `{self._verify}` failed with them", left_out)
        return passing

    def _passing(self, proven: list[PlannedFix], group: list[PlannedFix]) -> list[PlannedFix]:
        """The proven fixes and those of a group with which the check still passes, found by halving."""
        self._make(group)
        if time.monotonic() < self._end and self._tree_copy.passes(self._verify):
            return [*proven, *group]
        self._restore(group)
        if len(group) == 1 or time.monotonic() >= self._end:
            return proven
        half = len(group) // 2
        return self._passing(self._passing(proven, group[:half]), group[half:])

    def _make(self, fixes: Iterable[PlannedFix]) -> None:
        for fix in fixes:
            self._tree_copy.write(fix.path, self._artifacts.get(fix.after))

    def _restore(self, fixes: Iterable[PlannedFix]) -> None:
        for fix in fixes:
            self._tree_copy.write(fix.path, self._artifacts.get(fix.before))

    def _name(self, what: str, paths: set[str]) -> None:
        if paths:
            named = ", ".join(sorted(paths)[:_NAMED])
            more = f" and {len(paths) - _NAMED:,} more" if len(paths) > _NAMED else ""
            self.words.append(f"{what}: {named}{more}.")


def _words(error: Exception) -> str:
    return str(error) if isinstance(error, AnalyserFailed) else flaw_of(error)
