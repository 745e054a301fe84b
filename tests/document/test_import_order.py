"""The folders of the document language: imports point one way, and nobody outside knows them."""

from __future__ import annotations

from graphlib import TopologicalSorter

import pytest
from test_layers import FILES, imports_in

PACKAGE = "memsync.document"
# What each folder may import from, besides its own files and the files that lie flat ("").
ALLOWED: dict[str, set[str]] = {
    "": set(),
    "query": set(),
    "patch": set(),
    "footprint": set(),
    "live": {"patch"},
    "update": {"query", "patch", "live"},
}
INSIDE = [module for module in FILES if module.startswith(f"{PACKAGE}.")]


def folder_of(module: str) -> str:
    first = module.removeprefix(f"{PACKAGE}.").partition(".")[0]
    return first if first in ALLOWED else ""


@pytest.mark.parametrize("module", INSIDE)
def test_a_folder_imports_only_from_those_below_it(module: str) -> None:
    folder = folder_of(module)
    for found in imports_in(module):
        if found.target.startswith(PACKAGE):
            assert found.target != PACKAGE, f"{module}:{found.line} imports from the package itself"
            assert folder_of(found.target) in {folder, "", *ALLOWED[folder]}, found


def test_no_files_import_each_other_in_a_circle() -> None:
    graph = {module: {found.target for found in imports_in(module)} for module in INSIDE}
    TopologicalSorter(graph).prepare()  # raises CycleError


@pytest.mark.parametrize("module", [m for m in FILES if not m.startswith(PACKAGE)])
def test_others_import_from_the_package_alone(module: str) -> None:
    inner = [found for found in imports_in(module) if found.target.startswith(f"{PACKAGE}.")]
    assert inner == []
