"""CPython's own tests of locks, applied to `mem.lock` and `mem.semaphore`, where it has them.

Left out, each with its reason, is what `NOT_OURS` names; the rest passes as it stands.
"""

from __future__ import annotations

import unittest
from collections.abc import Iterator
from importlib import import_module
from importlib.util import find_spec
from itertools import count
from typing import Any

import pytest

from memsync import MemSync
from memsync.testing import Cluster

pytestmark = pytest.mark.process

SUITE = "test.lock_tests"
NOT_OURS = {
    "test_repr": "a repr names the lock, not an address",
    "test_locked_repr": "likewise",
    "test_timeout": "it wants OverflowError, and a wait of 292 years: memsync takes up to an hour",
    "test_at_fork_reinit": "a private method of CPython; test_named_locks.py forks for real",
}
_numbers = count()


def _suite() -> Any:
    """The module with the tests, or None."""
    if find_spec("test") is None or find_spec(SUITE) is None:
        return None
    return import_module(SUITE)


@pytest.fixture(params=["local", "memory"])
def mem(request: pytest.FixtureRequest, cluster: Cluster) -> Iterator[MemSync[Any]]:
    """A handle; with the engine ``local`` its host is another process."""
    if request.param == "local":
        cluster.start(1)
    with MemSync(cluster.name, engine=request.param) as mem:
        yield mem


@pytest.mark.skipif(_suite() is None, reason="the interpreter has no tests of its own")
@pytest.mark.parametrize("name", ["LockTests", "BoundedSemaphoreTests"])
def test_the_tests_of_the_standard_library_pass(mem: MemSync[Any], name: str) -> None:
    class OurLockTests(getattr(_suite(), name), unittest.TestCase):  # type: ignore[misc]
        """What the suite needs."""

        def locktype(self) -> Any:
            return mem.lock(f"l{next(_numbers)}")

        def semtype(self, value: int = 1) -> Any:
            return mem.semaphore(f"s{next(_numbers)}", value)

    names = unittest.TestLoader().getTestCaseNames(OurLockTests)
    chosen = [OurLockTests(each) for each in names if each not in NOT_OURS]
    assert len(chosen) >= 10, names
    result = unittest.TestResult()
    unittest.TestSuite(chosen).run(result)
    assert not result.errors + result.failures, result.errors + result.failures
    assert result.testsRun == len(chosen)
