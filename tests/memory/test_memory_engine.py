"""The memory engine, and what every engine promises: the same calls give the same results.

The first part runs with each engine; a new engine joins by one more name in `conftest.ENGINES`.
The second part is about the memory engine alone.
"""

from __future__ import annotations

import os
import pickle
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from memsync import (
    ConditionError,
    ConflictError,
    MaxWritersError,
    MemSync,
    NotStartedError,
    OptionsError,
    ReadOnlyError,
    UpdateError,
    UsageError,
    WaitTimeoutError,
    WriteConcernError,
    WriteTimeoutError,
    lifecycle,
)
from memsync.memory.engine import _groups
from memsync.replication.entries import Entry
from memsync.replication.sequencer import Sequencer
from memsync.runtime.participant import Participant
from memsync.testing import until

New = Callable[..., MemSync[Any]]


@pytest.fixture
def new(engine: str) -> Iterator[New]:
    """A function that makes one more started handle of the object "obj"; all are stopped."""
    with ExitStack() as stack:

        def new(data: Any = None, options: Any = None, name: str = "obj") -> MemSync[Any]:
            return stack.enter_context(MemSync(name, data, options, engine=engine))

        yield new


def settled(*handles: MemSync[Any]) -> Any:
    """The object, once all handles show the same version."""
    until(lambda: len({(mem.epoch, mem.version) for mem in handles}) == 1)
    (value,) = {repr(mem.snapshot()): mem.snapshot() for mem in handles}.values()
    return value


# -- every engine ----------------------------------------------------------------------------------


def test_the_first_handle_hosts_and_its_data_is_the_object(new: New) -> None:
    host, client = new({"n": 1}), new({"n": 99})
    assert [mem.get_status()["status"] for mem in (host, client)] == ["host", "client"]
    assert client.snapshot() == {"n": 1}


def test_a_write_of_either_handle_is_in_both(new: New) -> None:
    host, client = new({"n": 0}), new()
    assert client.patch({"$inc": {"n": 1}}) < host.patch({"$inc": {"n": 10}})
    assert host.data["n"] == 11
    assert settled(host, client) == {"n": 11}


def test_a_write_that_changes_nothing_returns_the_current_version(new: New) -> None:
    host, client = new({"n": 0}), new()
    settled(host, client)
    assert client.patch({"$set": {"n": 0}}) == host.version
    assert client.patch({"$inc": {"n": 1}}) == host.version


def test_a_condition_that_does_not_match_refuses_the_write(new: New) -> None:
    host, client = new({"job": {"state": "free"}}), new()
    claim = {"$set": {"job.state": "mine"}}
    client.patch(claim, where={"job.state": "free"})
    with pytest.raises(ConditionError) as caught:
        host.patch(claim, where={"job.state": "free"})
    assert caught.value.value == {"job.state": "mine"}
    assert settled(host, client) == {"job": {"state": "mine"}}


def test_an_update_that_cannot_be_applied_is_refused(new: New) -> None:
    host, client = new({"n": "text"}), new()
    for mem in (host, client):
        with pytest.raises(UpdateError):
            mem.patch({"$inc": {"n": 1}})
    assert settled(host, client) == {"n": "text"}


def test_a_draft_is_sent_as_one_patch_and_loses_against_a_write_that_it_did_not_see(
    new: New,
) -> None:
    host, client = new({"a": 1, "b": [1, 2]}), new()
    with client.edit() as draft:
        draft["b"].append(draft["a"])
    assert settled(host, client) == {"a": 1, "b": [1, 2, 1]}
    with pytest.raises(ConflictError) as caught, client.edit() as draft:  # noqa: PT012
        draft["a"] += 1
        host.patch({"$set": {"a": 7}})
        settled(host, client)
    assert (caught.value.path, caught.value.value) == ("/a", 7)


def test_transactions_of_several_handles_take_each_job_once(new: New) -> None:
    handles = [new({"jobs": list(range(30))}), new(), new()]
    taken: list[int] = []

    def work(mem: MemSync[Any]) -> None:
        while (job := mem.transact(lambda d: d["jobs"].pop() if d["jobs"] else None)) is not None:
            taken.append(job)

    run_threads(work, handles)
    assert sorted(taken) == list(range(30))


def test_submitted_writes_have_one_order_and_each_future_its_version(new: New) -> None:
    host, client = new({"n": 0, "order": []}), new()
    futures = [client.submit({"$push": {"order": i}}) for i in range(20)]
    versions = [future.result(10) for future in futures]
    assert versions == sorted(set(versions))
    assert settled(host, client)["order"] == list(range(20))
    failed = client.submit({"$inc": {"n": 1}}, where={"n": 5})
    assert isinstance(failed.exception(10), ConditionError)


def test_a_callback_of_a_future_runs_on_the_dispatcher_thread(new: New) -> None:
    names: list[str] = []
    future = new({"n": 0}).submit({"$inc": {"n": 1}})
    future.add_done_callback(lambda _: names.append(threading.current_thread().name))
    until(lambda: names == ["memsync-dispatch"])


def test_wait_for_returns_the_snapshot_that_satisfies_the_condition(new: New) -> None:
    host, client = new({"n": 0}), new()
    timer = threading.Timer(0.05, client.patch, [{"$inc": {"n": 3}}])
    timer.start()
    assert host.wait_for({"n": 3}, timeout=10) == {"n": 3}
    assert client.wait_for(lambda data: data["n"] == 3, timeout=10) == {"n": 3}
    with pytest.raises(WaitTimeoutError):
        host.wait_for({"n": 4}, timeout=0.05)
    timer.join()


def test_wait_for_ends_when_the_handle_stops(new: New) -> None:
    mem = new({"n": 0})
    timer = threading.Timer(0.05, mem.stop)
    timer.start()
    with pytest.raises(NotStartedError):
        mem.wait_for({"n": 1}, timeout=10)
    timer.join()


def test_changes_yields_the_newest_value_and_ends_with_the_handle(new: New) -> None:
    host, client = new({"n": 0}), new()
    changes = client.changes("n")
    host.patch({"$inc": {"n": 5}})
    assert next(changes)[0] == 5
    client.stop()
    assert list(changes) == []


def test_patches_are_announced_to_every_handle(new: New) -> None:
    host, client = new({"n": 0}), new()
    settled(host, client)
    heard: list[tuple[MemSync[Any], Any]] = []

    def note(mem: MemSync[Any], patches: list[Any]) -> None:
        heard.append((mem, patches))

    for mem in (host, client):
        mem.on("received_patches", partial(note, mem))
    version = client.patch({"$inc": {"n": 1}})
    until(lambda: len(heard) == 2)
    for _, ((patch,)) in heard:
        assert (patch["version"], patch["peer"]) == (version, client.id)
        assert patch["patch"] == [{"op": "replace", "path": "/n", "value": 1}]


def test_a_write_concern_is_met_by_all_members_or_fails_at_once_when_they_are_too_few(
    new: New,
) -> None:
    host, client, third = new({"n": 0}), new(), new()
    for w in (2, "majority", "all"):
        client.patch({"$inc": {"n": 1}}, w=w, timeout=10)
    assert [mem.snapshot("n") for mem in (host, client, third)] == [3, 3, 3]
    assert host.submit({"$inc": {"n": 1}}, w="all", timeout=10).result(10) == host.version
    with pytest.raises(WriteConcernError) as caught:
        client.patch({"$inc": {"n": 1}}, w=4, timeout=10)
    assert caught.value.wanted == 4 > caught.value.reached >= 2
    assert caught.value.outcome == "applied"
    assert settled(host, client, third) == {"n": 5}


def test_one_writer_more_than_the_limit_is_refused_and_a_reader_is_not(new: New) -> None:
    host = new({"n": 0}, {"network": {"maxWriters": 1}})
    with pytest.raises(MaxWritersError):
        new()
    reader = new(None, {"peer": {"roles": []}})
    with pytest.raises(ReadOnlyError):
        reader.patch({"$inc": {"n": 1}})
    host.patch({"$inc": {"n": 1}})
    assert settled(host, reader) == {"n": 1}


def test_the_founders_group_options_apply_and_others_are_refused(new: New) -> None:
    new({"n": 0}, {"conflict": "strict"})
    new()
    with pytest.raises(OptionsError, match="conflict"):
        new(None, {"conflict": "timestamp"})


def test_a_large_object_reaches_a_new_handle_in_chunks(new: New) -> None:
    data = {"blob": "x" * 100_000}
    limits = {"network": {"maxFrame": 200_000}}
    host, client = new(data, limits), new(None, limits)
    assert client.snapshot() == data == host.snapshot()


def test_status_peers_and_ping_describe_the_group(new: New) -> None:
    host, client = new({"n": 0}), new()
    settled(host, client)
    mine, theirs = host.get_status(), client.get_status()
    assert mine["host"]["id"] == theirs["host"]["id"] == host.id == mine["id"]
    assert (mine["peers"], theirs["peers"], mine["pending"]) == (1, 1, 0)
    assert mine["host"]["connections"] == 1
    assert [peer["id"] for peer in host.peers] == [client.id]
    assert [peer["host"] for peer in client.peers] == [True]
    assert client.ping()["host"]["time"] >= 0
    assert [each["id"] for each in host.ping()["clients"]] == [client.id]


def test_g15_the_others_go_on_when_the_host_stops(new: New) -> None:
    host, client, third = new({"n": 0}), new(), new()
    events: list[Any] = []
    client.on("host_changed", events.append)
    host.patch({"$inc": {"n": 1}})
    old = host.id
    host.stop()
    assert host.get_status()["status"] == "stopped"
    assert host.snapshot() == {"n": 1}
    client.patch({"$inc": {"n": 1}})
    third.patch({"$inc": {"n": 1}})
    assert settled(client, third) == {"n": 3}
    assert {mem.get_status()["status"] for mem in (client, third)} == {"host", "client"}
    until(lambda: events != [])
    assert events[0]["old"] == old
    assert events[0]["new"] in (client.id, third.id)
    assert events[0]["epoch"] == client.epoch


def test_a_handle_that_starts_again_is_a_new_peer_with_the_groups_object(new: New) -> None:
    host, client = new({"n": 0}), new()
    old = client.id
    client.stop()
    host.patch({"$inc": {"n": 1}})
    client.start()
    assert client.id != old
    assert client.snapshot() == {"n": 1}


def test_when_all_have_stopped_the_object_is_gone(new: New) -> None:
    first, second = new({"n": 0}), new()
    first.patch({"$inc": {"n": 1}})
    first.stop()
    second.stop()
    assert new({"n": 50}).snapshot() == {"n": 50}


def test_two_names_are_two_objects(new: New) -> None:
    one, other = new({"n": 1}, name="one"), new({"n": 2}, name="other")
    one.patch({"$inc": {"n": 10}})
    assert (one.snapshot(), other.snapshot()) == ({"n": 11}, {"n": 2})
    assert not one.has_peers()


def run_threads(work: Callable[[MemSync[Any]], None], handles: list[MemSync[Any]]) -> None:
    """Run `work` for each handle on a thread of its own; raises what the first failure raised."""
    failures: list[BaseException] = []

    def run(mem: MemSync[Any]) -> None:
        try:
            work(mem)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=run, args=(mem,)) for mem in handles]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]


def test_many_threads_lose_no_increment(new: New) -> None:
    handles = [new({"n": 0}), new(), new()]

    def work(mem: MemSync[Any]) -> None:
        futures = []
        for i in range(100):
            if i % 3:
                mem.patch({"$inc": {"n": 1}})
            else:
                futures.append(mem.submit({"$inc": {"n": 1}}))
        for future in futures:
            future.result(20)

    run_threads(work, handles * 2)
    assert settled(*handles) == {"n": 600}


def test_a_pickled_handle_shares_the_peer_of_its_original(new: New) -> None:
    mem = new({"n": 0})
    mem.patch({"$inc": {"n": 1}})
    copy = pickle.loads(pickle.dumps(mem))
    with copy:
        assert copy.id == mem.id
        assert copy.data is mem.data
        copy.patch({"$inc": {"n": 1}})
        assert settled(mem, copy) == {"n": 2}


def test_stop_while_start_is_interrupted_in_the_same_thread_does_not_hang(
    engine: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    mem: MemSync[Any] = MemSync("obj", {"n": 0}, engine=engine)
    start = mem._factory.start  # type: ignore[attr-defined]

    def interrupted(self: Any, timeout: float) -> str:
        mem.stop()  # as a signal handler may
        with pytest.raises(UsageError, match="signal handler"):
            mem.start()
        role: str = start(self, timeout)
        return role

    monkeypatch.setattr(mem._factory, "start", interrupted)
    assert mem.start() == "host"
    mem.stop()


# -- the memory engine alone -----------------------------------------------------------------------


def in_memory() -> MemSync[Any]:
    return MemSync("obj", {"n": 0}, engine="memory")


def test_the_argument_engine_wins_over_the_option() -> None:
    with MemSync("obj", options={"engine": "local"}, engine="memory"):
        assert "obj" in _groups
    with pytest.raises(OptionsError, match="engine"):
        MemSync("obj", engine="nats")
    with pytest.raises(OptionsError, match="mapping"):
        MemSync("obj", options=[1], engine="memory")  # type: ignore[arg-type]


def test_the_argument_engine_wins_over_the_option_of_a_file(tmp_path: Path) -> None:
    path = tmp_path / "memsync.yaml"
    path.write_text("name: obj\noptions: {engine: local}\n")
    with MemSync.from_config(path, engine="memory"):
        assert "obj" in _groups
    with pytest.raises(OptionsError, match="engine"):
        MemSync.from_config(path, engine="nats")


def test_ping_raises_when_the_group_has_become_empty() -> None:
    with in_memory() as mem:
        memory = mem._running()
    with pytest.raises(NotStartedError):
        memory.ping(1)


def test_it_has_no_thread_no_file_and_no_socket(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*args: Any, **kwargs: Any) -> None:
        raise AssertionError("a socket was opened")

    monkeypatch.setattr(socket.socket, "__init__", refuse)
    threads, descriptors = threading.enumerate(), os.listdir("/dev/fd")
    with in_memory() as host:
        with in_memory() as client:
            client.patch({"$inc": {"n": 1}}, w="all")
            assert client.ping() == {"connection": "client", "host": {"time": 0.0}}
            assert threading.enumerate() == threads
            assert os.listdir("/dev/fd") == descriptors
        assert host.snapshot() == {"n": 1}
    assert list(folder.iterdir()) == []
    assert _groups == {}


def test_the_handle_that_writes_shows_the_entry_last(monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[str] = []
    publish = Participant.publish

    def note(participant: Participant, entries: list[Entry]) -> None:
        publish(participant, entries)
        shown.append(participant.id)

    with in_memory() as host, in_memory() as client, in_memory() as other:
        monkeypatch.setattr(Participant, "publish", note)
        for mem in (client, host, other):
            mem.patch({"$inc": {"n": 1}})
        order = [shown[:3], shown[3:6], shown[6:]]
        assert [each[-1] for each in order] == [client.id, host.id, other.id]
        assert all({*each} == {host.id, client.id, other.id} for each in order)


def test_handles_that_join_and_leave_while_others_write_lose_nothing() -> None:
    with in_memory() as keeper:
        done = threading.Event()
        counts = [0] * 4

        def come_and_go(number: int) -> None:
            while not done.is_set():
                with in_memory() as mem:
                    futures = [mem.submit({"$inc": {"n": 1}}) for _ in range(5)]
                    mem.patch({"$inc": {"n": 1}})
                assert all(future.done() for future in futures)
                counts[number] += 6

        threads = [threading.Thread(target=come_and_go, args=(each,)) for each in range(4)]
        for thread in threads:
            thread.start()
        until(lambda: min(counts) >= 300)
        done.set()
        for thread in threads:
            thread.join()
        assert keeper.snapshot() == {"n": sum(counts)}


def test_hosts_that_stop_one_after_the_other_lose_nothing() -> None:
    handles = [in_memory() for _ in range(6)]
    for mem in handles:
        mem.start()
    acknowledged = [0] * 6

    def work(mem: MemSync[Any]) -> None:
        number = handles.index(mem)
        try:
            while True:
                mem.patch({"$inc": {"n": 1}})
                acknowledged[number] += 1
        except (NotStartedError, WriteTimeoutError):
            return

    threads = [threading.Thread(target=work, args=(mem,)) for mem in handles[:5]]
    for thread in threads:
        thread.start()
    for number, mem in enumerate(handles[:5]):
        until(lambda number=number: acknowledged[number] >= 50)  # type: ignore[misc]
        mem.stop()
    for thread in threads:
        thread.join()
    last = handles[5]
    assert last.get_status()["status"] == "host"
    assert sum(acknowledged) <= last.snapshot("n") <= sum(acknowledged) + 5
    last.stop()


def test_a_group_whose_last_handle_leaves_while_another_starts_is_not_split() -> None:
    for _ in range(200):
        first = in_memory()
        first.start()
        others = [in_memory() for _ in range(2)]

        def change(mem: MemSync[Any], first: MemSync[Any] = first) -> None:
            mem.stop() if mem is first else mem.start()

        run_threads(change, [first, *others])
        assert [mem.get_status()["peers"] for mem in others] == [1, 1]
        for mem in others:
            mem.stop()


def test_stop_in_a_signal_handler_that_interrupts_a_write_does_not_hang(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(lifecycle, "_STOP_PATIENCE", 60.0)  # for the write, which cannot end
    mem = in_memory()
    mem.start()
    group = mem._engine._group  # type: ignore[union-attr]
    spread = group.spread

    def interrupted(ordered: Any) -> None:
        group.spread = spread
        mem.stop()  # as a handler does that runs between two steps of this thread
        spread(ordered)

    group.spread = interrupted
    begin = time.monotonic()
    assert mem.patch({"$inc": {"n": 1}}) > 0
    assert time.monotonic() - begin < 30
    until(lambda: mem.get_status()["status"] == "stopped")
    assert mem.snapshot() == {"n": 1}


def test_a_write_whose_thread_was_interrupted_before_it_was_queued_is_ordered_later() -> None:
    with in_memory() as mem:
        memory = mem._engine
        queue_write = memory.queue_write  # type: ignore[union-attr]

        def interrupted(*args: Any) -> None:
            memory.queue_write = queue_write  # type: ignore[union-attr]
            raise KeyboardInterrupt

        memory.queue_write = interrupted  # type: ignore[union-attr]
        with pytest.raises(KeyboardInterrupt):
            mem.patch({"$inc": {"n": 1}})
        until(lambda: mem.get_status()["pending"] == 0)
        assert mem.snapshot() == {"n": 1}


def test_a_step_that_is_interrupted_is_run_again() -> None:
    with in_memory() as mem:
        sequencer = mem._engine._group.sequencer  # type: ignore[union-attr]
        propose = sequencer.propose

        def interrupted(*args: Any) -> Any:
            sequencer.propose = propose
            raise KeyboardInterrupt

        sequencer.propose = interrupted
        with pytest.raises(KeyboardInterrupt):
            mem.patch({"$inc": {"n": 1}})
        mem.patch({"$inc": {"n": 1}})
        assert mem.snapshot() == {"n": 2}


def test_status_can_be_asked_while_the_handle_stops() -> None:
    failures: list[BaseException] = []
    handles = [in_memory() for _ in range(2)]
    done = threading.Event()

    def ask() -> None:
        try:
            while not done.is_set():
                for mem in handles:
                    mem.get_status()
        except BaseException as error:
            failures.append(error)

    thread = threading.Thread(target=ask)
    thread.start()
    for _ in range(200):
        for mem in handles:
            mem.start()
        for mem in handles:
            mem.stop()
    done.set()
    thread.join()
    assert failures == []


@pytest.mark.process
def test_a_forked_child_starts_with_no_group_and_the_parent_goes_on() -> None:
    with in_memory() as mem:
        mem.patch({"$inc": {"n": 1}})
        mem._engine._group.lock.acquire()  # type: ignore[union-attr]
        try:
            pid = os.fork()
            if pid == 0:  # the child founds an object of its own, although the lock was held
                code = 1
                try:
                    is_own = _groups == {} and mem.snapshot() == {"n": 0}
                    mem.patch({"$inc": {"n": 7}})
                    code = 0 if is_own and mem.snapshot() == {"n": 7} else 2
                finally:
                    os._exit(code)
        finally:
            mem._engine._group.lock.release()  # type: ignore[union-attr]
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
        mem.patch({"$inc": {"n": 1}})
        assert mem.snapshot() == {"n": 2}


def test_a_join_that_fails_in_the_middle_ends_as_a_member(monkeypatch: pytest.MonkeyPatch) -> None:
    append, failures = Sequencer._append, iter([MemoryError()])

    def fail_once(self: Sequencer, entry: Any) -> Any:
        if entry.kind == "member" and "join" in entry.body:
            for error in failures:
                raise error
        return append(self, entry)

    with MemSync("obj", {"n": 0}, engine="memory") as first:
        monkeypatch.setattr(Sequencer, "_append", fail_once)
        with MemSync("obj", engine="memory") as second:
            assert [peer["id"] for peer in first.peers] == [second.id]
            second.patch({"$inc": {"n": 1}})
            assert first.data["n"] == 1
        assert first.peers == []
