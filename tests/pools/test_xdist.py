"""pytest-xdist: the workers of a test run share an object, by the fixture of docs/pools.md."""

from __future__ import annotations

from pathlib import Path

import pytest

from memsync.testing import Cluster, until

from .programs import program, recipe

pytestmark = [pytest.mark.process, pytest.mark.slow]

TESTS = """
import os, signal
import pytest

@pytest.mark.parametrize("number", range(20))
def test_counts(shared, number, worker_id):
    shared.patch({"$inc": {"done": 1}, "$addToSet": {"workers": worker_id}})

def test_dies(shared):
    shared.wait_for(lambda data: len(data.get("workers", ())) >= 2)
    shared.patch({"$set": {"died": os.getpid()}})
    os.kill(os.getpid(), signal.SIGKILL)

@pytest.mark.parametrize("number", range(30))
def test_goes_on(shared, number, worker_id):
    shared.patch({"$inc": {"done": 1}, "$addToSet": {"workers": worker_id}})
    shared.wait_for(lambda data: len(data["workers"]) == 3)  # so some are left for the next one
"""

OPTIONS = ("-n", "2", "--testrunuid", "run", "-p", "no:cacheprovider", "-q")


def test_xdist(cluster: Cluster, tmp_path: Path) -> None:
    """There are places for two workers and this test: the worker after the killed one needs its."""
    (tmp_path / "conftest.py").write_text(recipe("pools.md", "pytest-xdist"))
    (tmp_path / "test_shared.py").write_text(TESTS)
    other = cluster.peer({"done": 0}, {"network": {"maxWriters": 3}}, name="tests-run")
    places = {"MEMSYNC_NETWORK_MAX_WRITERS": "3"}
    with program("-m", "pytest", *OPTIONS, cwd=tmp_path, environ=places) as run:
        run.wait(90)
    log = (tmp_path / "log").read_text()
    assert run.returncode == 1, log
    assert "1 failed, 50 passed" in log
    until(lambda: other.status()["peers"] == 0, 5, "the workers did not leave")
    seen = other.snapshot()
    assert seen["done"] == 50
    assert len(seen["workers"]) == 3
