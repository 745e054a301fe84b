"""What is pure stays pure, and importing memsync costs little and does nothing."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from memsync import errors

from .package_reader import Package

PACKAGE = Package(Path(errors.__file__).parent)

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
LATE = {"cloudpickle", "jsonpatch", "tblib", "watchdog", "yaml"}
EXTRAS = {
    *("fsspec", "obstore", "prometheus_client", "pytest", "rich", "starlette", "typer", "uvicorn"),
}
# What an extra exists for may import it at its top.
NEEDS_EXTRAS = ("memsync.cli", "memsync.http", "memsync.testing.pytest_plugin")

PURE_MODULES = [name for name, module in PACKAGE.modules.items() if module.part in PURE]


def impure_calls(source: str) -> list[str]:
    calls = (node.func for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call))
    names = (getattr(func, "id", getattr(func, "attr", "")) for func in calls)
    return sorted(IMPURE_CALLS.intersection(names))


def test_there_is_something_to_check() -> None:
    assert {PACKAGE.modules[name].part for name in PURE_MODULES} == set(PURE)


@pytest.mark.parametrize("name", PURE_MODULES)
def test_pure_layers_have_no_clock_chance_thread_or_io(name: str) -> None:
    module = PACKAGE.modules[name]
    for found in module.imports:
        assert found.module.split(".")[0] not in IMPURE_MODULES, f"{name}:{found.line}"
        assert found.module != "memsync.clocks", f"{name}:{found.line}"
    assert impure_calls(module.source) == []


@pytest.mark.parametrize("name", PACKAGE.modules)
def test_extras_are_imported_at_first_use(name: str) -> None:
    forbidden = set() if name.startswith(NEEDS_EXTRAS) else EXTRAS
    for found in PACKAGE.modules[name].imports:
        is_extra = found.module.split(".")[0] in forbidden
        assert not (found.at_top and is_extra), f"{name}:{found.line}"


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
            "PYTHONPATH": str(PACKAGE.root.parent),
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


def test_the_test_of_purity_sees_calls() -> None:
    source = "from datetime import datetime\ndatetime.now()\nopen('x')\nnow = 1\nx.opened()\n"
    assert impure_calls(source) == ["now", "open"]
