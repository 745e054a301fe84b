"""What a program loads when it imports memsync, and when it makes a handle: not more than it needs.

`benchmarks` measures the time. These tests name the modules, so that the reason shows at once.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

import memsync

# Each takes milliseconds, or imports what does.
SLOW = {
    *("asyncio", "cloudpickle", "dataclasses", "difflib", "email", "fsspec", "http", "json"),
    *("jsonpatch", "jsonpointer", "ssl", "tblib", "urllib.request", "watchdog", "yaml"),
}


def loaded_by(program: str) -> set[str]:
    """The modules that a new interpreter has loaded after a program, which uses no site packages
    but memsync and those beside msgspec."""
    places = [Path(module.__file__ or "").parent.parent for module in (memsync, msgspec)]
    result = subprocess.run(
        [sys.executable, "-S", "-c", f"{program}\nimport sys\nprint(*sys.modules)"],
        env={"PYTHONPATH": os.pathsep.join(map(str, places))},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    return set(result.stdout.split())


def test_the_class_needs_neither_dependencies_nor_the_engine() -> None:
    loaded = loaded_by("import memsync\nmemsync.MemSync")
    assert loaded & (SLOW | {"inspect", "hashlib", "msgspec", "pathlib"}) == set()
    parts = {name.split(".")[1] for name in loaded if name.startswith("memsync.")}
    assert parts & {"cli", "document", "engine", "manager", "memory", "replication"} == set()


@pytest.mark.parametrize("engine", ["local", "memory"])
def test_a_handle_needs_none_of_the_slow_modules(engine: str) -> None:
    loaded = loaded_by(f"import memsync\nmemsync.MemSync('name', {{'n': 0}}, engine={engine!r})")
    assert loaded & SLOW == set()
    assert "memsync.runtime.participant" in loaded


def test_a_handle_without_files_starts_without_the_slow_modules() -> None:
    program = (
        "import memsync\n"
        "with memsync.MemSync('name', {'n': 0}, engine='memory') as mem:\n"
        "    mem.patch({'$inc': {'n': 1}}, where={'n': 0})\n"
    )
    assert loaded_by(program) & SLOW == set()
