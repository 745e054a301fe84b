"""Celery with prefork workers and a broker in a folder: the application of docs/pools.md."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from .programs import PATIENCE, check_folder, program, recipe

pytestmark = [
    pytest.mark.process,
    pytest.mark.slow,
    pytest.mark.skipif(importlib.util.find_spec("celery") is None, reason="no celery"),
]

CONFIG = """
broker_url = "filesystem://"
broker_transport_options = {
    "data_folder_in": "queue", "data_folder_out": "queue", "control_folder": "control",
    "polling_interval": 0.05,
}
broker_connection_retry_on_startup = True
worker_lost_wait = 1  # seconds that Celery waits for the result of a dead worker
"""

MORE = """
import os, signal

@app.task
def die():
    mem.patch({"$inc": {"killed": 1}})
    os.kill(os.getpid(), signal.SIGKILL)

@app.task
def tell():
    mem.patch({"$addToSet": {"pids": os.getpid()}, "$inc": {"told": 1}})
"""

CLIENT = """
import os, signal, time
from memsync.testing import until
from tasks import die, mem, tell, work

PATIENCE = 30

def send(task, times):
    for _ in range(times):
        task.delay()

asked = []  # when

def workers():
    # One at a time, or the questions fill the queue; one may be lost with a killed worker.
    if mem.data.told >= len(asked) or time.monotonic() - asked[-1] > 1:
        asked.append(time.monotonic())
        send(tell, 1)
    return set(mem.data.pids) & {peer["pid"] for peer in mem.peers}

with mem:
    mem.patch({"$set": {"killed": 0, "pids": [], "told": 0}})
    for killed in range(2):
        until(lambda: len(workers()) == 2, PATIENCE, "two workers")
        send(work, 20)
        until(lambda: mem.data.done == 20 * (killed + 1), PATIENCE, "all tasks")
        if killed == 0:
            send(die, 1)
            until(lambda: mem.data.killed == killed + 1, PATIENCE, "a death")
    until(lambda: workers() and len(mem.data.pids) == 3, PATIENCE, "a worker that follows")
    os.kill(int(os.environ["WORKER"]), signal.SIGTERM)
    until(lambda: not mem.has_peers(), PATIENCE, "the workers leave")
    assert mem.data.done == 40 and mem.data.killed == 1, mem.data
"""


def test_celery(tmp_path: Path, folder: Path) -> None:
    """There are three places: of two workers, and of the client, which sees all that they count."""
    (tmp_path / "tasks.py").write_text(recipe("pools.md", "Celery") + MORE)
    (tmp_path / "celeryconfig.py").write_text(CONFIG)
    (tmp_path / "client.py").write_text(CLIENT)
    for name in ("queue", "control"):
        (tmp_path / name).mkdir()
    worker = ("-m", "celery", "-A", "tasks", "worker", "-P", "prefork", "-c", "2")
    places = {"MEMSYNC_NETWORK_MAX_WRITERS": "3"}
    log = tmp_path / "log"
    with program(*worker, cwd=tmp_path, environ=places) as server:
        places["WORKER"] = str(server.pid)
        with program("client.py", cwd=tmp_path, environ=places, log="client") as client:
            client.wait(PATIENCE)
        if client.returncode:
            server.kill()
            pytest.fail((tmp_path / "client").read_text() + log.read_text())
    assert server.returncode == 0, log.read_text()
    check_folder(folder)
