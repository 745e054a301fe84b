"""The layers, read out of the imports: what is pure stays pure, and imports point one way."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from memsync import errors

PACKAGE = Path(errors.__file__).parent

# A part may import from its own layer and from those above it in this list.
LAYERS = [
    {"errors", "lazy", "version"},
    {"schema", "config", "options"},
    {"document"},
    {"replication"},
    {"manager", "dispatcher", "edits", "waiting"},
    {"peer"},
    {""},  # memsync/__init__.py
    {"cli", "testing"},
]
RANK = {part: rank for rank, parts in enumerate(LAYERS) for part in parts}

PURE = ("document", "replication")
# fmt: off
IMPURE_MODULES = {
    "_thread", "asyncio", "concurrent", "ctypes", "fcntl", "glob", "http", "io", "logging", "mmap",
    "multiprocessing", "os", "pathlib", "platform", "queue", "random", "secrets", "select",
    "selectors", "shutil", "signal", "socket", "socketserver", "ssl", "subprocess", "sys",
    "sysconfig", "tempfile", "threading", "time", "urllib", "uuid",
}
# fmt: on
IMPURE_CALLS = {"open", "print", "input", "now", "utcnow", "today", "__import__"}

# Imported at first use only, so that `import memsync` is quick and works without the extras.
LATE = {"cloudpickle", "fsspec", "jsonpatch", "watchdog", "yaml"}
EXTRAS = {"prometheus_client", "pytest", "rich", "s3fs", "starlette", "typer", "uvicorn"}
# What an extra exists for may import it at its top.
NEEDS_EXTRAS = ("memsync.cli", "memsync.server", "memsync.testing.pytest_plugin")


class Import(NamedTuple):
    """One imported module, by its absolute name."""

    target: str
    line: int
    at_top: bool


def imports_of(source: str, module: str, is_package: bool = False) -> Iterator[Import]:
    """All imports of a module's source, relative ones resolved, `TYPE_CHECKING` ones included."""
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
                yield Import(alias.name, node.lineno, node not in inside)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parents = package.split(".")[: len(package.split(".")) - node.level + 1]
                base = ".".join([*parents, *filter(None, [base])])
            for alias in node.names:
                # `from memsync import options` imports the part, not the package.
                is_part = base == "memsync" and alias.name in RANK
                target = f"{base}.{alias.name}" if is_part else base
                yield Import(target, node.lineno, node not in inside)


def impure_calls(source: str) -> list[str]:
    calls = (node.func for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call))
    names = (getattr(func, "id", getattr(func, "attr", "")) for func in calls)
    return sorted(IMPURE_CALLS.intersection(names))


def part_of(module: str) -> str:
    """``memsync.document.paths`` is of the part ``document``, ``memsync`` itself of ``""``."""
    return module.split(".")[1] if "." in module else ""


def module_name(path: Path) -> str:
    return ".".join(["memsync", *path.relative_to(PACKAGE).with_suffix("").parts]).removesuffix(
        ".__init__"
    )


FILES = {module_name(path): path for path in sorted(PACKAGE.rglob("*.py"))}
PURE_FILES = [module for module in FILES if part_of(module) in PURE]


def imports_in(module: str) -> Iterator[Import]:
    path = FILES[module]
    return imports_of(path.read_text(), module, path.name == "__init__.py")


def test_there_is_something_to_look_at() -> None:
    assert {part_of(module) for module in PURE_FILES} == set(PURE)
    assert {"", "errors", "options", "manager", "peer", "cli"} <= {part_of(m) for m in FILES}


@pytest.mark.parametrize("module", PURE_FILES)
def test_pure_layers_have_no_clock_chance_thread_or_io(module: str) -> None:
    for found in imports_in(module):
        assert found.target.split(".")[0] not in IMPURE_MODULES, f"{module}:{found.line}"
    assert impure_calls(FILES[module].read_text()) == []


@pytest.mark.parametrize("module", FILES)
def test_imports_point_one_way(module: str) -> None:
    part = part_of(module)
    assert part in RANK, f"{module}: say in LAYERS where the part {part!r} belongs"
    for found in imports_in(module):
        if found.target.split(".")[0] != "memsync":
            continue
        target = part_of(found.target)
        assert RANK[target] <= RANK[part], f"{module}:{found.line} imports {found.target}"


@pytest.mark.parametrize("module", FILES)
def test_extras_are_imported_at_first_use(module: str) -> None:
    forbidden = set() if module.startswith(NEEDS_EXTRAS) else EXTRAS
    for found in imports_in(module):
        name = found.target.split(".")[0]
        assert not (found.at_top and name in forbidden), f"{module}:{found.line}"


def test_importing_memsync_loads_nothing_heavy_and_starts_nothing(tmp_path: Path) -> None:
    program = (
        "import sys, threading, memsync\n"
        "memsync.MemSync  # the package itself is lazy\n"
        "print(threading.active_count(), *sorted({name.split('.')[0] for name in sys.modules}))\n"
    )
    folder = tmp_path / "rendezvous"
    result = subprocess.run(
        [sys.executable, "-W", "error", "-c", program],
        env={
            "MEMSYNC_DIR": str(folder),
            "PYTHONPATH": str(PACKAGE.parent),
            "TMPDIR": str(tmp_path),
        },
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    threads, *loaded = result.stdout.split()
    assert threads == "1"
    assert "memsync" in loaded
    assert (LATE | EXTRAS).intersection(loaded) == set()
    assert list(tmp_path.iterdir()) == [], "importing touched the file system"


class TestTheReaderOfImports:
    """The tests above would pass in silence if this missed something."""

    def test_it_sees_every_form(self) -> None:
        source = (
            "import time, os.path as p\n"
            "from socket import socket\n"
            "def f():\n"
            "    import random\n"
            "    from ..manager import link\n"
            "class A:\n"
            "    from . import paths\n"
            "from .. import peer, MemSync\n"
        )
        found = {tuple(item) for item in imports_of(source, "memsync.document.query")}
        assert found == {
            ("time", 1, True),
            ("os.path", 1, True),
            ("socket", 2, True),
            ("random", 4, False),
            ("memsync.manager", 5, False),
            ("memsync.document", 7, True),
            ("memsync.peer", 8, True),
            ("memsync", 8, True),
        }

    def test_a_package_is_its_own_parent(self) -> None:
        (found,) = imports_of("from .paths import split", "memsync.document", is_package=True)
        assert found.target == "memsync.document.paths"

    def test_it_sees_calls(self) -> None:
        source = "from datetime import datetime\ndatetime.now()\nopen('x')\nnow = 1\nx.opened()\n"
        assert impure_calls(source) == ["now", "open"]
