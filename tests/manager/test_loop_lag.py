"""What counts as lag of the loop in a process with other threads: not its own work."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time

import pytest

from memsync.manager.host.loop_lag import LoopLag, OtherThreads
from memsync.manager.platform.platform import Platform
from memsync.manager.timing import TIMING
from memsync.testing import until


def is_busy(work: float) -> bool:
    """Whether a loop is busy that works for so long in each of its rounds, and then waits."""
    platform = Platform()
    lag, end = LoopLag(platform, TIMING), platform.monotonic() + 1.0
    lag.watch(platform.monotonic())
    while platform.monotonic() < end:
        lag.wait_begins()
        time.sleep(max(lag.due - platform.monotonic(), 0))
        lag.wait_ended()
        begun = time.thread_time()
        while time.thread_time() - begun < work:
            sum(range(100))
    return lag.is_busy


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells waits and preemptions apart")
@pytest.mark.parametrize("work", [0.0, 0.03])
def test_waiting_for_a_processor_and_own_work_are_no_lag(work: float) -> None:
    """On a machine with much to do hosts would hand over again and again."""
    burning = [sys.executable, "-c", "while True: pass"]
    others = [subprocess.Popen(burning) for _ in range(3 * (os.cpu_count() or 1))]
    try:
        assert not is_busy(work)
    finally:
        for other in others:
            other.kill()
            other.wait()


@pytest.mark.parametrize("work", [0.0, 0.003])
def test_waiting_for_the_interpreter_is_lag(work: float) -> None:
    is_over = threading.Event()
    busy = threading.Thread(target=burn, args=(is_over,), name="busy")
    busy.start()
    try:
        until(lambda: is_busy(work))
    finally:
        is_over.set()
        busy.join()


def are_others_busy() -> bool:
    platform = Platform()
    others = OtherThreads(platform, TIMING)
    time.sleep(0.1)
    return others.are_busy(platform.monotonic())


def test_other_threads_that_compute_are_found_and_those_that_wait_are_not() -> None:
    is_over = threading.Event()
    threads = [threading.Thread(target=is_over.wait) for _ in range(10)]
    for thread in threads:
        thread.start()
    try:
        until(lambda: not are_others_busy())
        threads.append(threading.Thread(target=burn, args=(is_over,), name="busy"))
        threads[-1].start()
        until(are_others_busy)
    finally:
        is_over.set()
        for thread in threads:
            thread.join()


def burn(is_over: threading.Event) -> None:
    """Count in pure Python."""
    while not is_over.is_set():
        sum(range(100))
