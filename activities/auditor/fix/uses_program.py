"""A separate program: prints which import statements must not be removed, because something may need them.

`uses_program.py REQUEST` reads a JSON object from the file REQUEST: `folder`, the `fixable` files that may
lose imports, and all `files` to look into. It prints, by path, the first lines of the statements to keep.

A name that a file imports but does not use may still be needed: by another module, `__all__`, a doctest, a
string, or as a test's fixture. Executing the import may also have an effect, such as loading a submodule that
others use. When in doubt, an import is kept.
"""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
import sysconfig
from collections.abc import Iterable, Mapping
from functools import cache
from itertools import accumulate, pairwise
from pathlib import Path, PurePosixPath
from typing import NamedTuple

# Modules of the standard library with side effects on import.
_IMPURE = frozenset({"antigravity", "cgitb", "readline", "rlcompleter", "site", "this", "tkinter", "turtle"})
# A file that uses one of these may reach its names dynamically.
_DYNAMIC = frozenset(
    {"globals", "locals", "vars", "eval", "exec", "dir", "__getattr__", "__dict__", "modules"}
)
# A file that uses one of these may hold any module under any name.
_LOADING = frozenset(
    {"import_module", "__import__", "exec_module", "load_module", "module_from_spec", "modules"}
)
_WORD = re.compile(r"\w+")
_DOCTEST = re.compile(r"^\s*(?:>>>|\.\.\.) (.*)$", re.MULTILINE)
_TYPE_COMMENT = re.compile(r"#\s*type:(.*)$", re.MULTILINE)
_FROM = re.compile(r"from\s+[\w.]*?(\w+)\s+import\s+([^\n#]+)")
_DOTTED = re.compile(r"\w+(?:[.:]\w+)*")
_STANDARD = Path(sysconfig.get_path("stdlib"))


class Import(NamedTuple):
    """A name that a file binds by an import, the line on which the statement begins, and what it loads."""

    name: str
    line: int
    module: str


class Source:
    """A file of the folder; scripts are recognised by their first line."""

    def __init__(self, folder: Path, path: str) -> None:
        self.path = path
        # What others call it: a package is named by its folder.
        pure = PurePosixPath(path)
        self.stem = pure.parent.name or folder.name if pure.stem == "__init__" else pure.stem
        self.data = (folder / path).read_bytes()
        self.is_python = (
            pure.suffix in (".py", ".pyi", ".pyw") or b"python" in self.data[:100].split(b"\n")[0]
        )
        self.text = "" if b"\0" in self.data else self.data.decode("utf-8", "replace")
        self.words = set(_WORD.findall(self.text))

    def tree(self) -> ast.Module | None:
        """Its syntax tree; None if it is not Python, or not of this version."""
        try:
            return ast.parse(self.data) if self.is_python else None
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            return None


def removable(source: Source, own: frozenset[str]) -> tuple[list[Import], list[int]]:
    """The imports of a file that only other files may need, and the lines of those to keep in any case."""
    tree = source.tree()
    if tree is None:
        return [], list(range(1, source.text.count("\n") + 2))
    names, strings, guarded = _Names(tree), set[str](), _guarded(tree)
    for text in names.strings:
        strings |= set(_WORD.findall(text))
    for text in names.docstrings:
        strings |= set(_WORD.findall("\n".join(_DOCTEST.findall(text))))
    strings |= set(_WORD.findall("\n".join(_TYPE_COMMENT.findall(source.text))))
    whole = bool(names.used & _DYNAMIC) or not names.plain_all
    whole |= PurePosixPath(source.path).name == "conftest.py" or "compat" in source.path.lower()
    found, kept = list[Import](), list[int]()
    for node in names.imports:
        bound = [alias.asname or alias.name for alias in node.names]
        if (
            whole
            or node in guarded
            or _has_side_effects(node, own)
            or strings & set(bound)
            or names.parameters & set(bound)
        ):
            kept.append(node.lineno)
        else:
            module = node.module if isinstance(node, ast.ImportFrom) else None
            found += [
                Import(alias.asname or alias.name, node.lineno, module or alias.name) for alias in node.names
            ]
    return found, kept


class _Names:
    """What a file imports, and where else names occur in it."""

    def __init__(self, tree: ast.Module) -> None:
        self.imports: list[ast.Import | ast.ImportFrom] = []
        self.used: set[str] = set()
        self.parameters: set[str] = set()
        self.strings: list[str] = []
        self.docstrings: list[str] = []
        self.plain_all = True
        documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
        self._docstrings = {
            id(node.body[0].value)
            for node in ast.walk(tree)
            if isinstance(node, documented) and node.body and isinstance(node.body[0], ast.Expr)
        }
        for node in ast.walk(tree):
            self._take(node)

    def _take(self, node: ast.AST) -> None:
        match node:
            case ast.Import() | ast.ImportFrom():
                self.imports.append(node)
            case ast.Name(id=name) | ast.Attribute(attr=name) | ast.FunctionDef(name=name):
                self.used.add(name)
            case ast.arg(arg=name):
                self.parameters.add(name)
            case ast.Constant(value=str(text)):
                (self.docstrings if id(node) in self._docstrings else self.strings).append(text)
        match node:
            case (
                ast.Assign(targets=[ast.Name(id="__all__")], value=value)
                | ast.AnnAssign(target=ast.Name(id="__all__"), value=value)
            ):
                self.plain_all &= isinstance(value, ast.List | ast.Tuple) and all(
                    isinstance(each, ast.Constant) for each in value.elts
                )
            case ast.AugAssign(target=ast.Name(id="__all__")):
                self.plain_all = False
            case ast.Attribute(value=ast.Name(id="__all__")):  # `__all__.append`, `.extend`
                self.plain_all = False


def _guarded(tree: ast.Module) -> set[ast.AST]:
    """The imports whose purpose may be to succeed or fail: in `try` or `with`, or alone in a block."""
    blocks = [
        node for node in ast.walk(tree) if isinstance(node, ast.Try | ast.TryStar | ast.With | ast.AsyncWith)
    ]
    inside = {
        each for block in blocks for each in ast.walk(block) if isinstance(each, ast.Import | ast.ImportFrom)
    }
    bodies = [
        getattr(node, name, [])
        for node in ast.walk(tree)
        if isinstance(node, ast.stmt)
        for name in ("body", "orelse")
    ]
    # A docstring does not count: `def test_it_loads(): import it` may have one.
    does = [[each for each in body if not isinstance(each, ast.Expr | ast.Pass)] for body in bodies]
    alone = [body for body in does if all(isinstance(each, ast.Import | ast.ImportFrom) for each in body)]
    return inside.union(*alone)


def _has_side_effects(node: ast.Import | ast.ImportFrom, own: frozenset[str]) -> bool:
    """Whether an import may do more than bind names, as any outside the standard library may."""
    if isinstance(node, ast.ImportFrom):
        if node.level or node.module is None:
            return True
        modules = [node.module]
        # Importing a submodule makes it an attribute of its package, for everybody.
        folder = _STANDARD.joinpath(*node.module.split("."))
        if any((folder / name).exists() for each in node.names for name in (each.name, f"{each.name}.py")):
            return True
    else:
        modules = [alias.name for alias in node.names]
        if any("." in name for name in modules):
            return True
    tops = {name.partition(".")[0] for name in modules}
    return not tops <= sys.stdlib_module_names or bool(tops & (_IMPURE | own | {"__future__"}))


def implied(tree: ast.Module) -> set[str]:
    """The submodules of the standard library that a file uses but does not import itself."""
    bound, own, nodes = dict[str, str](), set[str](), list(ast.walk(tree))
    for node in nodes:
        for alias in node.names if isinstance(node, ast.Import | ast.ImportFrom) else ():
            inside = f"{node.module}." if isinstance(node, ast.ImportFrom) else ""
            top = alias.name.partition(".")[0]
            bound[alias.asname or top] = inside + (alias.name if alias.asname or inside else top)
            # Importing `a.b.c` imports `a.b`.
            own |= set(accumulate(f"{inside}{alias.name}".split("."), "{}.{}".format))
    used = {_resolved(node, bound) for node in nodes if isinstance(node, ast.Attribute)} - own
    return {each for each in used if _is_submodule(each) and each not in _loaded_by(each.rpartition(".")[0])}


def _resolved(node: ast.expr, bound: Mapping[str, str]) -> str:
    match node:
        case ast.Name(id=name):
            return bound.get(name, "")
        case ast.Attribute(value=value, attr=name) if module := _resolved(value, bound):
            return f"{module}.{name}"
    return ""


def _is_submodule(dotted: str) -> bool:
    top, *rest = dotted.split(".")
    place = _STANDARD.joinpath(top, *rest)
    is_there = bool(rest) and (place.is_dir() or place.with_suffix(".py").exists())
    return is_there and top in sys.stdlib_module_names


@cache
def _loaded_by(module: str) -> frozenset[str]:
    """All modules that are loaded once one module of the standard library, and nothing else, is imported."""
    command = [sys.executable, "-I", "-S", "-c", f"import sys, {module}; print(*sys.modules)"]
    ran = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    return frozenset(ran.stdout.split())


class NeededNames:
    """Which names the files of a folder may need from each other's modules."""

    def __init__(self, names: Iterable[str], stems: Iterable[str], own: frozenset[str]) -> None:
        self._names, self._stems, self._own = frozenset(names), frozenset(stems), own
        self.everything: set[str] = set()  # stems of modules of which any name may be needed
        self.by_stem: set[tuple[str, str]] = set()
        self.by_any: set[str] = set()  # names that may be needed from any module

    def take(self, source: Source) -> None:
        """Add what a file may need."""
        names, stems = source.words & self._names, source.words & self._stems
        if not names and not stems:
            return
        tree = source.tree()
        if tree is None:
            self._take_text(source.text, names, stems)
            return
        found = _Names(tree)
        foreign, modules = self._imported(found.imports)
        loading = bool(found.used & _LOADING)
        plain = set[int]()
        for node in ast.walk(tree):
            if isinstance(node, ast.Attribute):
                plain.add(id(node.value))
                if node.attr in names and (loading or self._may_be_module(node.value, foreign)):
                    self.by_any.add(node.attr)
        # If a module is passed on, as in `getattr(a, name)`, any of its names may be used.
        for node in ast.walk(tree):
            if isinstance(node, ast.Name) and node.id in modules and id(node) not in plain:
                self.everything.add(modules[node.id])
        for text in (*found.docstrings, *found.strings):
            self._take_doctests(text, names)
        # Whole strings: lazy imports have the module and its names in separate strings.
        whole = set(found.strings)
        self.by_stem |= {(stem, name) for stem in stems & whole for name in names & whole}
        self.everything |= stems & whole if loading else set()
        for text in (*whole, *_TYPE_COMMENT.findall(source.text)):
            self._take_dotted(text, names, stems)

    def _imported(self, imports: Iterable[ast.Import | ast.ImportFrom]) -> tuple[set[str], dict[str, str]]:
        """The names of foreign modules, and names that may be modules of the folder, with their stems."""
        foreign, modules = set[str](), dict[str, str]()
        for node in imports:
            for alias in node.names:
                bound = alias.asname or alias.name.partition(".")[0]
                last = alias.name.rpartition(".")[2]
                if isinstance(node, ast.Import):
                    if alias.name.partition(".")[0] not in self._own:
                        foreign.add(bound)
                    elif alias.asname or "." not in alias.name:
                        modules[bound] = last
                    continue
                module = (node.module or "").rpartition(".")[2]
                if alias.name == "*":
                    self.everything.add(module)
                elif not node.module:  # `from . import join` does not name the package
                    self.by_any.add(alias.name)
                else:
                    self.by_stem.add((module, alias.name))
                if last in self._stems:
                    modules[bound] = last
        return foreign, modules

    @staticmethod
    def _may_be_module(value: ast.expr, foreign: set[str]) -> bool:
        while isinstance(value, ast.Attribute):
            value = value.value
        if isinstance(value, ast.Name):
            return value.id not in foreign and value.id not in ("self", "cls")
        return not isinstance(value, ast.Constant | ast.JoinedStr | ast.List | ast.Dict | ast.Tuple)

    def _take_dotted(self, text: str, names: set[str], stems: set[str]) -> None:
        for dotted in _DOTTED.findall(text):
            parts = re.split("[.:]", dotted)
            self.by_stem |= {
                (stem, name) for stem, name in pairwise(parts) if stem in stems and name in names
            }

    def _take_doctests(self, text: str, names: set[str]) -> None:
        if ">>>" in text:
            self.by_any |= set(_WORD.findall("\n".join(_DOCTEST.findall(text)))) & names

    def _take_text(self, text: str, names: set[str], stems: set[str]) -> None:
        """Take a file that does not parse as Python: entry points, doctests, code for another Python."""
        self._take_doctests(text, names)
        self._take_dotted(text, names, stems)
        for stem, imported in _FROM.findall(text):
            self.by_stem |= {(stem, name) for name in _WORD.findall(imported)}

    def has(self, stem: str, name: str) -> bool:
        """Whether some file may need this name from a module with this stem."""
        return stem in self.everything or name in self.by_any or (stem, name) in self.by_stem


def top_level(files: Iterable[str]) -> frozenset[str]:
    """The names of the files' top-level modules and packages."""
    packages = {PurePosixPath(path).parent for path in files if PurePosixPath(path).name == "__init__.py"}
    own = {folder.name for folder in packages if folder.parent not in packages}
    return frozenset(
        own | {PurePosixPath(path).stem for path in files if PurePosixPath(path).parent not in packages}
    )


def main(folder: Path, fixable: list[str], files: list[str]) -> dict[str, list[int]]:
    """The lines to keep, by path."""
    own = top_level(files)
    found: dict[str, tuple[str, list[Import]]] = {}
    kept: dict[str, list[int]] = {}
    for path in fixable:
        source = Source(folder, path)
        source.is_python = True
        imports, kept[path] = removable(source, own)
        found[path] = source.stem, imports
    names = {each.name for _, imports in found.values() for each in imports}
    needed = NeededNames(names, {stem for stem, _ in found.values()}, own)
    brought = set[str]()
    for path in files:
        source = Source(folder, path)
        needed.take(source)
        brought |= implied(tree) if names and (tree := source.tree()) else set()
    for path, (stem, imports) in found.items():
        kept[path] += {
            each.line
            for each in imports
            if needed.has(stem, each.name) or (brought and brought & _loaded_by(each.module))
        }
    return {path: sorted(lines) for path, lines in kept.items() if lines}


if __name__ == "__main__":
    request = json.loads(Path(sys.argv[1]).read_bytes())
    print(json.dumps(main(Path(request["folder"]), request["fixable"], request["files"])))
