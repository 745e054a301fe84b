"""The folders of the document language: imports point one way, and nobody outside knows them."""

from __future__ import annotations

from pathlib import Path

import pytest

from memsync import errors

from .package_reader import Package

PACKAGE = Package(Path(errors.__file__).parent)
DOCUMENT = "memsync.document"
# What each folder may import from, besides its own files and the files that lie flat ("").
ALLOWED: dict[str, set[str]] = {
    "": set(),
    "query": set(),
    "patch": set(),
    "footprint": set(),
    "observed": {"live"},
    "live": {"patch"},
    "update": {"query", "patch", "live"},
}
INSIDE = [name for name in PACKAGE.modules if name.startswith(f"{DOCUMENT}.")]


def folder_of(module: str) -> str:
    first = module.removeprefix(f"{DOCUMENT}.").partition(".")[0]
    return first if first in ALLOWED else ""


def targets(module: str) -> list[str]:
    imported = map(PACKAGE.imported, PACKAGE.modules[module].imports)
    return [target for target in imported if target is not None and target.startswith(DOCUMENT)]


@pytest.mark.parametrize("module", INSIDE)
def test_a_folder_imports_only_from_those_below_it(module: str) -> None:
    folder = folder_of(module)
    for target in targets(module):
        assert target != DOCUMENT, f"{module} imports from the package itself"
        assert folder_of(target) in {folder, "", *ALLOWED[folder]}, target


@pytest.mark.parametrize("module", [m for m in PACKAGE.modules if not m.startswith(DOCUMENT)])
def test_others_import_from_the_package_alone(module: str) -> None:
    assert set(targets(module)) <= {DOCUMENT}
