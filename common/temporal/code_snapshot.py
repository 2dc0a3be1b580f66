"""Keeps a process on the code it started with, even if the files change.

The sandbox executes an agent's file at every start and replay. If it were read from disk each time, a process
could run half of a change, because what the file imports is loaded only once; or code that does not compile.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from importlib.util import spec_from_file_location
from types import CodeType, ModuleType


def snapshot_code(package: str) -> None:
    """Make later imports of modules of `package` run the code they have now, or at their first import."""
    if any(isinstance(each, _SnapshotFinder) and each.package == package for each in sys.meta_path):
        return
    finder = _SnapshotFinder(package)
    for name in sorted(sys.modules):
        finder.find_spec(name, getattr(sys.modules.get(name.rpartition(".")[0]), "__path__", None))
    sys.meta_path.insert(0, finder)


class _SnapshotFinder(MetaPathFinder):
    def __init__(self, package: str) -> None:
        self.package = package
        self._kept: dict[str, tuple[_SnapshotLoader, list[str] | None]] = {}

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if not f"{fullname}.".startswith(f"{self.package}."):
            return None
        if fullname not in self._kept:
            found = PathFinder.find_spec(fullname, path, target)
            if found is None or not isinstance(found.loader, SourceFileLoader):
                return found
            code = found.loader.get_code(fullname)
            assert code is not None
            loader = _SnapshotLoader(fullname, found.loader.path, code)
            self._kept[fullname] = loader, found.submodule_search_locations
        loader, folders = self._kept[fullname]
        return spec_from_file_location(
            fullname, loader.path, loader=loader, submodule_search_locations=folders
        )


class _SnapshotLoader(SourceFileLoader):
    def __init__(self, fullname: str, path: str, code: CodeType) -> None:
        super().__init__(fullname, path)
        self._code = code

    def get_code(self, fullname: str) -> CodeType:
        return self._code
