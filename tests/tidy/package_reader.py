"""Reads a package by its syntax trees: modules, imports, circles. Nothing of it is executed."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping, Set
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import NamedTuple


class Import(NamedTuple):
    """One imported module by its absolute name, and the name that is taken from it, if any."""

    module: str
    name: str | None
    line: int
    at_top: bool


def imports_of(source: str, module: str, is_package: bool = False) -> Iterator[Import]:
    """All imports of a module, with relative ones resolved.

    Those in functions and below ``if TYPE_CHECKING`` are included.
    """
    tree = ast.parse(source)
    inside = {
        child
        for function in ast.walk(tree)
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        for child in ast.walk(function)
    }
    package = module if is_package else module.rpartition(".")[0]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(alias.name, None, node.lineno, node not in inside)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parents = package.split(".")[: len(package.split(".")) - node.level + 1]
                base = ".".join([*parents, *filter(None, [base])])
            for alias in node.names:
                yield Import(base, alias.name, node.lineno, node not in inside)


@dataclass(frozen=True)
class Module:
    """One file of the package."""

    name: str
    path: Path
    relative: str  # the path below the package's folder, with slashes

    @cached_property
    def source(self) -> str:
        return self.path.read_text()

    @cached_property
    def tree(self) -> ast.Module:
        return ast.parse(self.source)

    @property
    def is_package(self) -> bool:
        return self.path.name == "__init__.py"

    @cached_property
    def imports(self) -> list[Import]:
        return list(imports_of(self.source, self.name, self.is_package))

    @property
    def part(self) -> str:
        """The first level below the package: ``document`` for ``memsync.document.paths``."""
        return [*self.name.split("."), ""][1]


class Package:
    """All modules below a folder, by their names; the folder's name is that of the package."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.modules: dict[str, Module] = {}
        for path in sorted(root.rglob("*.py")):
            relative = path.relative_to(root)
            name = ".".join([root.name, *relative.with_suffix("").parts])
            name = name.removesuffix(".__init__")
            self.modules[name] = Module(name, path, relative.as_posix())

    def imported(self, found: Import) -> str | None:
        """The module of the package that an import names; None for one of another package."""
        if f"{found.module}.{found.name}" in self.modules:
            return f"{found.module}.{found.name}"
        return found.module if found.module in self.modules else None

    def definer(self, found: Import) -> str | None:
        """The same, but a name that a package only passes on is traced to where it is defined."""
        target = self.imported(found)
        if target is None or target != found.module or not self.modules[target].is_package:
            return target
        for passed_on in self.modules[target].imports:
            if passed_on.name == found.name and passed_on.module != target:
                return self.definer(passed_on) or target
        return target

    def in_circles(self) -> set[str]:
        """The modules from which a chain of imports leads back to themselves."""
        graph = {
            module.name: {target for each in module.imports if (target := self.definer(each))}
            - {module.name}
            for module in self.modules.values()
        }
        return {name for circle in components(graph) if len(circle) > 1 for name in circle}


def components(graph: Mapping[str, Set[str]]) -> list[set[str]]:
    """The strongly connected components of a graph: nodes that can all reach each other."""
    reach = {node: _reachable(graph, node) for node in graph}
    found: list[set[str]] = []
    for node in graph:
        if not any(node in component for component in found):
            found.append({node} | {other for other in reach[node] if node in reach[other]})
    return found


def _reachable(graph: Mapping[str, Set[str]], start: str) -> set[str]:
    seen: set[str] = set()
    queue = [start]
    while queue:
        for target in graph[queue.pop()] - seen:
            seen.add(target)
            queue.append(target)
    return seen
