"""loky's own tests of process executors, applied to `mem.executor()`.

Nothing of them is in this repository: the test fetches loky's source distribution from the package
index. `loky_cases.py` says what is adapted, and why which test is left out.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from memsync import MemSync, PeerLostError
from memsync.testing import Cluster, until

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


def test_a_peer_that_dies_fails_its_own_tasks_and_the_executor_works_on(
    cluster: Cluster, tmp_path: Path
) -> None:
    """loky's tests with dead workers are left out, because its executor is broken then."""
    peers, go = cluster.start(2), tmp_path / "go"
    with MemSync(cluster.name) as mem, mem.executor(4) as executor:
        for peer in peers:  # connected, so that no task is run in this process instead
            assert mem.run(os.getpid, on=peer.status()["id"]) == peer.pid
        futures = [executor.submit(_pid_when, go) for _ in range(2)]
        lost = executor.submit(os._exit, 42)
        with pytest.raises(PeerLostError):
            lost.result(10)
        go.touch()
        survived = [future.result(10) for future in futures if not future.exception(10)]
        assert len(survived) == 1
        assert executor.submit(os.getpid).result(10) == survived[0]


def _pid_when(path: Path) -> int:
    until(path.exists)
    return os.getpid()
