"""What each interpreter runs: all on the default one; on the others, a sample of some folders.

Code without threads, processes and files does the same on every interpreter that runs it at all, so
its tests count as `portable`. How threads end, what a fork carries over and where exceptions arrive
changes between versions: those tests run on the default and on the newest interpreter. They count
as `newest`; between the two a sample of them runs. ``tox -e py312 -- -m "not rare"`` runs all.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

# The beginnings of names of tests.
PORTABLE = (
    "tests/benchmarks/",
    "tests/document/",
    "tests/memory/test_moved_elements.py",
    "tests/replication/",
    "tests/simulation/",
    "tests/tidy/",
    "tests/test_config",
    "tests/test_docs.py",
    "tests/test_errors.py",
    "tests/test_examples.py",
    "tests/test_failures_at_once.py",
    "tests/test_hints.py",
    "tests/test_interpreters.py",
    "tests/test_json_schema.py",
    "tests/test_options.py",
    "tests/test_plugin.py",
    "tests/test_project_files.py",
    "tests/test_typing.py",
)
NEWEST = (
    "tests/interrupts/",
    "tests/memory/",
    "tests/rpc/",
)
PROCESSES = (
    "tests/cli/",
    "tests/http/",
    "tests/journal/",
    "tests/pools/",
    "tests/process/",
    "tests/storage/",
)
# Files of those folders that are about threads; they run everywhere.
EVERYWHERE = (
    "tests/document/test_atomic_copies.py",
    "tests/document/test_containers.py",
    "tests/document/test_converge.py",
    "tests/memory/test_inherited_by_engine.py",
    "tests/replication/test_rebase_threads.py",
)
EVERY = 10  # of how many tests of a file the sample takes one, beginning with the first
EVERY_OF_PROCESSES = 3  # where processes, sockets and files take part


def marks(names: Iterable[str]) -> list[str | None]:
    """For each test, the mark that leaves it out on some interpreters, if it has one."""
    seen: Counter[str] = Counter()
    found: list[str | None] = []
    for name in names:
        file = name.split("::")[0]
        every = EVERY_OF_PROCESSES if name.startswith(PROCESSES) else EVERY
        found.append(_mark_of(name) if seen[file] % every else None)
        seen[file] += 1
    return found


def _mark_of(name: str) -> str | None:
    if name.startswith(EVERYWHERE):
        return None
    if name.startswith(PORTABLE):
        return "portable"
    return "newest" if name.startswith(NEWEST + PROCESSES) else None
