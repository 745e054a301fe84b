"""loky's own tests of process executors, applied to `mem.executor()`.

Nothing of them is in this repository: the test fetches loky's source distribution from the package
index. `loky_cases.py` says what is adapted, and why which test is left out.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
import time
from pathlib import Path

import pytest

from memsync import MemSync, PeerLostError
from memsync.testing import Cluster

pytestmark = pytest.mark.process

LOKY = "loky==3.7.0"
CASES = Path(__file__).with_name("loky_cases.py")
PASSED = 27
CLASSES_AT_ONCE = 3  # most of the time they sleep


def fetch(folder: Path) -> Path:
    """The unpacked source distribution; its folder ``tests`` is the package ``loky_tests``."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
    command += ["--no-binary", ":all:", "--dest", str(folder), LOKY]
    subprocess.run(command, check=True, timeout=60)
    [archive] = folder.glob("loky-*.tar.gz")
    with tarfile.open(archive) as content:
        content.extractall(folder, filter="data")
    [root] = folder.glob("loky-*/")
    (root / "tests").rename(root / "loky_tests")
    return root


@pytest.mark.slow
def test_the_tests_of_loky_pass(folder: Path, tmp_path: Path) -> None:
    root = fetch(tmp_path)
    command = [sys.executable, "-m", "pytest", "--noconftest", "-c", os.devnull, "-q", "-rs"]
    command += ["-p", "no:cacheprovider", "--rootdir", str(root), "-W", "ignore", str(CASES)]
    command += ["-n", str(CLASSES_AT_ONCE), "--dist", "loadscope", "-p", "xdist"]
    paths = [str(root), str(CASES.parents[2]), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
    environment["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"  # most take long to import
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.splitlines()[-1].startswith(f"{PASSED} passed"), done.stdout
    assert "skipped" not in done.stdout


def test_a_peer_that_dies_fails_its_own_tasks_and_the_executor_works_on(cluster: Cluster) -> None:
    """loky's tests with dead workers are left out, because its executor is broken then."""
    cluster.start(2)
    with MemSync(cluster.name) as mem, mem.executor(4) as executor:
        futures = [executor.submit(_pid_later, 0.5) for _ in range(2)]
        lost = executor.submit(os._exit, 42)
        with pytest.raises(PeerLostError):
            lost.result(10)
        survived = [future.result(10) for future in futures if not future.exception(10)]
        assert len(survived) == 1
        assert executor.submit(_pid_later, 0).result(10) == survived[0]


def _pid_later(seconds: float) -> int:
    time.sleep(seconds)
    return os.getpid()
