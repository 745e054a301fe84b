"""loky's tests of process executors, applied to `mem.executor()`; `test_loky_suite.py` runs them.

The package ``loky_tests`` is the folder ``tests`` of loky's source distribution. What is adapted:

- the arguments: the start method of the workers is that of the peers;
- the names of errors (`ERRORS`), which memsync does not take from loky;
- programs in strings: they make the executor of this module, in a process of their own;
- the attribute ``_processes`` is empty, because an executor of memsync starts none.

`LEFT_OUT` says why a test is not run. `tests/memory/test_executor.py` has what holds instead.
"""

from __future__ import annotations

import os
from importlib import import_module
from multiprocessing import get_context
from multiprocessing.connection import Connection
from types import SimpleNamespace
from typing import Any

from memsync import MemSync, NotSerializableError
from memsync.testing import until

PEERS = 2

STARTS_NONE = "an executor starts no processes: its workers are the peers, which other programs own"
INSIDE = "looks at threads and queues of loky's executor; test_executor.py has its scenario"
ONE_TASK = "a peer that dies fails its own tasks with PeerLostError, and the executor works on"
LEFT_OUT = {
    "test_processes_terminate": STARTS_NONE,
    "test_processes_terminate_on_executor_gc": STARTS_NONE,
    "test_del_shutdown": INSIDE,
    "test_shutdown_no_wait": INSIDE,
    "test_shutdown_deadlock_pickle": INSIDE,
    "test_child_env_executor": STARTS_NONE,
    "test_no_deprecation_warning_is_raised_on_fork": STARTS_NONE,
    "test_worker_timeout": f"{STARTS_NONE}, so none ends for want of work",
    "test_shutdown_and_kill_workers": f"{STARTS_NONE} and nobody else may kill",
    "test_memory_leak_protection": f"{STARTS_NONE} and start again when they have grown",
    "test_reference_cycle_collection": "passes, but is about collections that loky adds",
    "test_viztracer_profiler": "needs a profiler",
    "test_viztracer_profiler_with_custom_init": "needs a profiler and an initializer",
    "test_hang_issue39205": "what a task prints appears at the peer, not at the caller",
    "test_processes_crash_handling_after_executor_gc": ONE_TASK,
    "test_killed_child": ONE_TASK,
    "test_killed_child_with_cancelled_work_items": ONE_TASK,
    "test_exited_child": ONE_TASK,
    "test_manager_thread_crash_breaks_executor": "breaks a part of loky, which memsync has not",
    "test_feeder_error_hook_crash_breaks_executor": "breaks a part of loky, which memsync has not",
    "test_shutdown_with_sys_exit_at_pickle": "a SystemExit while arguments are pickled is raised",
    "test_max_workers_negative": "a ValueError as there, but its message names the value as well",
    "test_traceback": "the remote frames are in the traceback itself, not in the text of a cause",
    "test_exception_cause_with_tblib": "an exception has the cause that it had in the method",
    "test_serialization": "there are no reducers for a single executor: use copyreg",
    "test_max_depth": "there is no limit on executors in tasks of executors",
    "test_no_failure_on_large_data_send": "network.maxFrame bounds what a call carries",
}

suite: Any = import_module("loky_tests._test_process_executor")
mixin: Any = import_module("loky_tests._executor_mixin")
ERRORS = {"PicklingError": NotSerializableError, "ShutdownExecutorError": RuntimeError}
vars(suite).update(ERRORS)

_check_subprocess_call = suite.check_subprocess_call
_handles: list[MemSync[Any]] = []  # that of this process


def handle() -> MemSync[Any]:
    if not _handles:
        _handles.append(MemSync(os.environ["LOKY_CASES"]))
        _handles[0].start()
    return _handles[0]


def peer_pool(max_workers: int | None = None, *, context: Any = None) -> Any:
    """`mem.executor()` with the arguments that loky's tests give."""
    executor: Any = handle().executor(max_workers)
    executor._processes = {}
    return executor


def check_subprocess_call(command: list[str], **options: Any) -> Any:
    """Run a program of loky's tests with the executor of this module."""
    *start, source = command
    source = source.replace("tests.", "loky_tests.").replace("loky.process_executor", __name__)
    return _check_subprocess_call([*start, source], **options)


suite.check_subprocess_call = check_subprocess_call


def serve(name: str, event: Any, until_closed: Connection) -> None:
    """Be a peer until the connection closes."""
    os.environ["LOKY_CASES"] = name
    mixin._test_event = event
    with handle():
        until_closed.poll(None)


class PeerPools:
    """What loky's `ExecutorMixin` is there: peers for each class, an executor for each test."""

    worker_count = 5
    executor_type = staticmethod(peer_pool)
    context = get_context("forkserver")
    executor: Any
    processes: list[Any]
    end: Connection

    @classmethod
    def setup_class(cls) -> None:
        cls.context.set_forkserver_preload([__name__])
        os.environ["LOKY_CASES"] = name = f"{cls.__name__}-{os.getpid()}"
        mixin._test_event = cls.context.Event()
        reading, cls.end = cls.context.Pipe(duplex=False)
        cls.processes = [
            cls.context.Process(target=serve, args=(name, mixin._test_event, reading))
            for _ in range(PEERS)
        ]
        for process in cls.processes:
            process.start()
        until(lambda: len(handle().peers) == PEERS, timeout=60)  # they import loky's tests

    @classmethod
    def teardown_class(cls) -> None:
        _handles.pop().stop()
        cls.end.close()
        for process in cls.processes:
            process.join(10)

    def setup_method(self) -> None:
        self.executor = self.executor_type(self.worker_count)

    def teardown_method(self) -> None:
        if self.executor is not None:  # tests of its deletion set it to None
            self.executor.shutdown()
        mixin._test_event.clear()


class TestShutdown(PeerPools, suite.ExecutorShutdownTest):  # type: ignore[misc]
    def test_interpreter_shutdown(self) -> None:
        self.executor.shutdown()
        self.executor = SimpleNamespace(shutdown=lambda **arguments: None)  # with loky's arguments
        super().test_interpreter_shutdown()


class TestWait(PeerPools, suite.WaitTests):  # type: ignore[misc]
    pass


class TestAsCompleted(PeerPools, suite.AsCompletedTests):  # type: ignore[misc]
    pass


class TestExecutor(PeerPools, suite.ExecutorTest):  # type: ignore[misc]
    pass


for name in LEFT_OUT:
    owner = next(each for each in (TestShutdown, TestExecutor) if hasattr(each, name))
    setattr(owner, name, None)  # pytest does not collect it
