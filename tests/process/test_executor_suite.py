"""CPython's own tests of executors, applied to `mem.executor()`, where the interpreter has them.

One is left out: ``test_map_timeout`` passes, but sleeps for six seconds.
"""

from __future__ import annotations

import unittest
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import pytest

from memsync import MemSync
from memsync.testing import Cluster

pytestmark = pytest.mark.process

SUITE = "test.test_concurrent_futures"  # a package from 3.12 on
NAMES = (
    "test_submit",
    "test_submit_keyword",
    "test_map",
    "test_map_exception",
    "test_shutdown_race_issue12456",
    "test_no_stale_references",
    "test_max_workers_negative",
    "test_free_reference",
)


def _suite() -> Any:
    """The mixin with the tests, or None."""
    if find_spec("test") is None or find_spec(SUITE) is None:
        return None
    name = f"{SUITE}.executor"
    try:
        return getattr(import_module(name if find_spec(name) else SUITE), "ExecutorTest", None)
    except ImportError:  # before 3.12 it is one module
        return None


@pytest.mark.skipif(_suite() is None, reason="the interpreter has no tests of its own")
def test_the_tests_of_the_standard_library_pass(cluster: Cluster) -> None:
    cluster.start(2)
    with MemSync(cluster.name) as mem:

        class PeerExecutorTest(_suite(), unittest.TestCase):  # type: ignore[misc]
            """What the mixin needs."""

            worker_count = 5

            def setUp(self) -> None:
                self.executor = mem.executor(self.worker_count)

            def tearDown(self) -> None:
                self.executor.shutdown()

            def executor_type(self, max_workers: int) -> Any:
                return mem.executor(max_workers)

        loaded = unittest.TestSuite(
            PeerExecutorTest(name) for name in NAMES if hasattr(PeerExecutorTest, name)
        )
        result = unittest.TestResult()
        loaded.run(result)
        assert [*result.failures, *result.errors] == []
        assert result.testsRun >= len(NAMES) - 1
