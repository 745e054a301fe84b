"""Handlers of logging that use memsync: they run on memsync's own threads, which must not wait."""

from __future__ import annotations

import logging
import logging.handlers
import queue
import threading
import time
from collections.abc import Callable
from concurrent.futures import as_completed, wait
from pathlib import Path
from typing import Any

import pytest

import memsync
from memsync import MemSync, UsageError
from memsync.runtime.logs import Logger
from memsync.runtime.own_threads import OwnThread
from memsync.testing import Cluster, until

from ..process_helpers import read_line

pytestmark = pytest.mark.process

CALLS: dict[str, Callable[[MemSync[Any]], object]] = {
    "patch": lambda mem: mem.patch({"$inc": {"lines": 1}}),
    "edit": lambda mem: edit(mem),
    "transact": lambda mem: mem.transact(lambda draft: draft.update(lines=1)),
    "wait_for": lambda mem: mem.wait_for({"never": True}),
    "changes": lambda mem: next(mem.changes()),
    "ping": lambda mem: mem.ping(),
    "outcome": lambda mem: mem.submit({"$inc": {"lines": 1}}).result(),
    "error": lambda mem: mem.submit({"$inc": {"lines": 1}}).exception(),
    "outcomes": lambda mem: wait([mem.submit({"$inc": {"lines": 1}})], 9),
    "next outcome": lambda mem: next(as_completed([mem.submit({"$inc": {"lines": 1}})], 9)),
    "start": lambda mem: mem.start(),
    "stop": lambda mem: mem.stop(),
}


def edit(mem: MemSync[Any]) -> None:
    with mem.edit() as draft:
        draft["lines"] = 1


def handle_by(mem: MemSync[Any], call: Callable[[MemSync[Any]], object], catches: bool) -> None:
    """Have each line of memsync lead to a call, and note on which thread and with what result."""
    notes: list[tuple[str, str, float]] = []
    mem.__dict__["notes"] = notes

    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            thread, began = threading.current_thread().name, time.monotonic()
            try:
                call(mem)
                notes.append((thread, "", time.monotonic() - began))
            except Exception as error:
                notes.append((thread, f"{type(error).__name__}: {error}", time.monotonic() - began))
                if not catches:
                    raise

    logger = logging.getLogger("memsync")
    logger.setLevel(logging.INFO)
    logger.addHandler(Handler())


def notes_of(mem: MemSync[Any]) -> list[tuple[str, str, float]]:
    return list(mem.__dict__["notes"])


@pytest.mark.parametrize("catches", [True, False])
@pytest.mark.parametrize("call", CALLS)
def test_a_handler_that_waits_is_refused_at_once_and_the_peer_goes_on(
    cluster: Cluster, call: str, catches: bool
) -> None:
    host, client = cluster.start(2, {"n": 0, "lines": 0}, {"timeout": 20})
    client.run(handle_by, CALLS[call], catches)
    host.stop()
    until(lambda: client.status()["status"] == "host", 5)
    newcomer = cluster.peer()
    newcomer.patch({"$inc": {"n": 1}}, timeout=5)
    client.run(lambda mem: mem.patch({"$inc": {"n": 1}}, timeout=5))
    notes = client.run(notes_of)
    own = [note for note in notes if note[0].startswith("memsync-")]
    assert {"memsync-driver"} <= {thread for thread, _, _ in own}
    for _, outcome, seconds in own:
        assert outcome.startswith("UsageError")
        assert "QueueHandler" in outcome
        assert seconds < 10  # of the 20 of a call that waits
    assert cluster.settled()["n"] == 2


DATA = {"lines": 0, "all": []}


def append(mem: MemSync[Any]) -> None:
    with mem.edit() as draft:
        draft["all"].append(1)


WRITES: dict[str, Callable[[MemSync[Any]], object]] = {
    "patch": CALLS["patch"],
    "submit": lambda mem: mem.submit({"$inc": {"lines": 1}}),
    "edit": append,
    "transact": lambda mem: mem.transact(lambda draft: draft["all"].append(1)),
}


@pytest.mark.parametrize("engine", ["local", "memory"])
@pytest.mark.parametrize("outer", WRITES)
@pytest.mark.parametrize("inner", WRITES)
def test_a_handler_that_writes_inside_of_a_write_is_told_the_way_out(
    engine: Any, outer: str, inner: str
) -> None:
    with MemSync[Any]("obj", DATA, {"logEvents": True}, engine=engine) as mem:
        found: list[str] = []

        class Handler(logging.Handler):
            def emit(self, record: logging.LogRecord) -> None:
                if threading.current_thread() is threading.main_thread() and not found:
                    found.append("no error")
                    try:
                        WRITES[inner](mem)
                    except UsageError as error:
                        found[0] = str(error)

        handler, trace = Handler(), logging.getLogger("memsync.trace")
        trace.addHandler(handler)
        try:
            WRITES[outer](mem)
        finally:
            trace.removeHandler(handler)
            trace.setLevel(logging.NOTSET)
        (told,) = found
        for part in ("in the middle of another patch() or submit()", "logging", "QueueHandler"):
            assert part in told
        mem.patch({"$inc": {"lines": 1}})


def test_a_handler_may_submit(cluster: Cluster) -> None:
    host, client = cluster.start(2, {"n": 0, "lines": 0})
    client.run(handle_by, lambda mem: mem.submit({"$inc": {"lines": 1}}) and None, False)
    host.stop()
    until(lambda: client.status()["status"] == "host", 5)
    cluster.peer()
    notes = client.run(notes_of)
    assert len(notes) >= 2
    accepted = [note for note in notes if not note[1]]
    assert accepted
    until(lambda: client.snapshot("lines") >= len(accepted), 5)


def test_submit_does_not_wait_for_room_on_a_thread_of_memsync(cluster: Cluster) -> None:
    host, client = cluster.start(2, {"n": 0, "lines": 0}, {"network": {"window": 1}})

    def fill_and_submit(mem: MemSync[Any]) -> tuple[str, float]:
        mem.submit({"$inc": {"n": 1}})
        errors: list[str] = []

        def submit() -> None:
            try:
                mem.submit({"$inc": {"n": 1}})
            except Exception as error:
                errors.append(type(error).__name__)

        began = time.monotonic()
        thread = OwnThread(submit, "test")
        thread.start()
        thread.join(10)
        return errors[0], time.monotonic() - began

    cluster.pause(host)
    error, seconds = client.run(fill_and_submit)
    cluster.resume()
    assert error == "QueueFullError"
    assert seconds < 8


def test_the_way_out_works(cluster: Cluster) -> None:
    def listen(mem: MemSync[Any]) -> None:
        class Handler(logging.Handler):
            def emit(self, record: logging.LogRecord) -> None:
                mem.patch({"$push": {"log": record.getMessage()}})

        lines: queue.SimpleQueue[Any] = queue.SimpleQueue()
        logger = logging.getLogger("memsync")
        logger.setLevel(logging.INFO)
        logger.addHandler(logging.handlers.QueueHandler(lines))
        mem.__dict__["listener"] = logging.handlers.QueueListener(lines, Handler())
        mem.__dict__["listener"].start()

    host, client = cluster.start(2, {"n": 0, "log": []})
    client.run(listen)
    host.stop()
    until(lambda: any("host" in line for line in client.snapshot("log")), 5)
    client.run(lambda mem: mem.__dict__.pop("listener").stop())


FINALIZER = """
    import gc, threading, time
    from memsync import MemSync, UsageError

    mem = MemSync("obj", {"n": 0})
    mem.start()
    names, errors = [], []

    class Late:
        def __init__(self):
            self.me = self
        def __del__(self):
            try:
                mem.patch({"$inc": {"n": 1}})
            except Exception as error:
                errors.append(str(error))

    from memsync.runtime.own_threads import OwnThread
    Late()
    thread = OwnThread(gc.collect, "memsync-test")
    thread.start()
    thread.join(5)
    print(thread.is_alive(), len(errors), "finalizer" in errors[0], flush=True)
    mem.stop()
"""


def test_a_finalizer_that_writes_is_refused_on_a_thread_of_memsync(cluster: Cluster) -> None:
    program = cluster.script(FINALIZER)
    assert read_line(program) == "False 1 True\n"
    program.wait(10)


STARTING = """
    import logging, pickle, sys, time
    from memsync import MemSync, UsageError

    copy = pickle.loads(pickle.dumps(MemSync("obj", {"n": 0}, {"timeout": 20})))

    class Handler(logging.Handler):
        def emit(self, record):
            copy.patch({"$inc": {"n": 1}})  # joins, or waits for the thread that joins

    logging.getLogger("memsync").setLevel(logging.DEBUG)
    logging.getLogger("memsync").addHandler(Handler())
    began = time.monotonic()
    print(copy.data, time.monotonic() - began < 5, flush=True)
    copy.stop()
"""


def test_a_handler_does_not_dead_lock_the_start_of_its_own_handle(cluster: Cluster) -> None:
    program = cluster.script(STARTING)
    assert read_line(program) == "{'n': 0} True\n"
    assert program.wait(10) == 0


def test_callbacks_may_wait(cluster: Cluster) -> None:
    def watch(mem: MemSync[Any]) -> None:
        mem.on("host_changed", lambda change: mem.patch({"$set": {"host": change["epoch"]}}))

    host, client = cluster.start(2, {"n": 0})
    client.run(watch)
    host.stop()
    until(lambda: client.snapshot("host") == 2, 5)


def test_a_handler_that_raises_is_reported_and_ends_no_call(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            raise ValueError(record.getMessage())

    log, handler = Logger("memsync.tested"), Handler()
    monkeypatch.setattr(log.logger, "handlers", [handler])
    monkeypatch.setattr(log.logger, "level", logging.DEBUG)
    for write in (log.debug, log.info, log.warning, log.error, log.exception, log.critical):
        write("line %s", 1)
    shown = capsys.readouterr().err
    assert shown.count("ValueError: line 1") == 6
    assert "memsync.tested" in shown
    monkeypatch.setattr(logging, "raiseExceptions", False)
    log.error("line %s", 2)
    assert capsys.readouterr().err == ""


def test_lines_name_the_place_that_logs(caplog: pytest.LogCaptureFixture) -> None:
    log = Logger("memsync.tested")
    log.error("one")
    log.log(logging.ERROR, "two")
    assert [record.filename for record in caplog.records] == ["test_log_handlers.py"] * 2


def test_every_line_and_every_thread_goes_through_these_classes() -> None:
    package = Path(memsync.__file__).parent
    ours = {"logs.py", "own_threads.py", "dispatcher.py"}
    for path in package.rglob("*.py"):
        if path.relative_to(package).parts[0] in ("cli", "testing") or path.name in ours:
            continue
        for line in path.read_text().splitlines():
            assert "threading.Thread(" not in line, path
            assert "logging.getLogger(" not in line or "watchdog" in line, path
