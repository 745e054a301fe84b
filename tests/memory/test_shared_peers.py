"""Handles that came by pickle share one peer, which leaves with the last of them."""

from __future__ import annotations

import copy
import gc
import os
import pickle
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from memsync import MaxWritersError, MemSync, NotStartedError
from memsync.testing import until

MOMENT = 20.0  # seconds: a peer stays for two after its last copy is gone

New = Callable[..., MemSync[Any]]


@pytest.fixture
def host(engine: str) -> Iterator[MemSync[Any]]:
    """A handle of another origin, which sees who is in the group."""
    with MemSync("obj", {"n": 0}, {"network": {"poll": 0.5}}, engine=engine) as mem:
        yield mem


@pytest.fixture
def pickled(host: MemSync[Any], engine: str) -> bytes:
    """A pickle whose original is in no process any more."""
    return pickle.dumps(MemSync("obj", {"n": 0}, {"timeout": 9}, engine=engine))


def unpickled(pickled: bytes, number: int) -> list[MemSync[Any]]:
    return [pickle.loads(pickled) for _ in range(number)]


def test_copies_share_one_peer_and_what_it_shows(host: MemSync[Any], pickled: bytes) -> None:
    copies = unpickled(pickled, 5)
    for mem in copies:
        mem.patch({"$inc": {"n": 1}})
    assert len({mem.id for mem in copies}) == 1
    assert len({id(mem.data) for mem in copies}) == 1
    assert [peer["id"] for peer in host.peers] == [copies[0].id]
    assert copies[0].data == {"n": 5}


def test_stop_ends_the_use_of_one_copy_and_the_last_one_the_peer(
    host: MemSync[Any], pickled: bytes
) -> None:
    first, second, third = copies = unpickled(pickled, 3)
    assert {mem.start() for mem in copies} == {"client"}
    first.submit({"$set": {"n": 7}})
    first.stop()
    first.stop()
    assert host.data == {"n": 7}
    assert first.get_status()["status"] == "stopped"
    with pytest.raises(NotStartedError, match=r"stopped: call start\(\)"):
        first.patch({"$inc": {"n": 1}})
    assert first.snapshot() == {"n": 7}
    second.patch({"$inc": {"n": 1}})
    third.stop()
    assert first.start() == "client"
    assert first.id == second.id
    second.stop()
    assert first.ping()["connection"] == "client"
    first.stop()
    until(lambda: not host.peers)
    assert first.start() == "client"
    assert first.id != second.id
    first.stop()


@pytest.mark.parametrize("shared_with", ["another copy", "its original"])
def test_stop_ends_the_waits_of_one_handle(
    host: MemSync[Any], pickled: bytes, shared_with: str
) -> None:
    """`changes` ends and `wait_for` raises, as at a handle of its own peer; the others go on."""
    if shared_with == "its original":
        first, second = repickled(host), host
    else:
        first, second = unpickled(pickled, 2)
    first.start()
    second.start()
    ended = [first.changes("n"), second.changes("n")]
    with ThreadPoolExecutor(4) as pool:
        of_first = pool.submit(list, ended[0])
        seen: list[Any] = []
        iteration = pool.submit(lambda: seen.extend(value for value, _ in ended[1]))
        waits = [pool.submit(mem.wait_for, {"n": 2}, timeout=20) for mem in (first, second)]
        host.patch({"$set": {"n": 1}})
        until(lambda: first.data["n"] == second.data["n"] == 1, 5)
        first.stop()
        assert [value for value, _ in of_first.result(20)] in ([], [1])
        with pytest.raises(NotStartedError):
            waits[0].result(20)
        host.patch({"$set": {"n": 2}})
        assert waits[1].result(20) == {"n": 2}
        until(lambda: seen)
        ended[1].close()
        iteration.result(20)
        assert seen[-1] in (1, 2)
    with pytest.raises(StopIteration):
        next(ended[0])
    first.start()
    again = first.changes("n")
    host.patch({"$set": {"n": 3}})
    assert next(again)[0] == 3
    assert first.wait_for({"n": 3}, timeout=5) == {"n": 3}
    first.stop()


def test_the_peer_leaves_when_the_last_copy_is_collected(
    host: MemSync[Any], pickled: bytes
) -> None:
    first, second = unpickled(pickled, 2)
    first.start()
    second.patch({"$inc": {"n": 1}})
    peer = first.id
    del first
    second.submit({"$inc": {"n": 1}})
    assert [member["id"] for member in host.peers] == [peer]
    del second
    gc.collect()
    until(lambda: not host.peers, MOMENT)
    assert host.data == {"n": 2}
    until(lambda: "memsync-leave" not in {each.name for each in threading.enumerate()}, MOMENT)


@pytest.fixture
def stays(host: MemSync[Any], pickled: bytes, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Without copies the peer stays until the end of the test, however long that takes."""
    monkeypatch.setattr("memsync.leaver.STAY", 120)
    yield
    monkeypatch.setattr("memsync.leaver.STAY", 0)
    pickle.loads(pickled).start()  # the end of this copy is noticed
    until(lambda: not host.peers)


@pytest.mark.usefixtures("stays")
def test_copies_one_after_the_other_find_the_peer_of_the_last_one(
    host: MemSync[Any], pickled: bytes
) -> None:
    ids = set()
    for _ in range(5):
        mem = pickle.loads(pickled)
        mem.patch({"$inc": {"n": 1}})
        ids.add(mem.id)
        del mem
    assert len(ids) == 1
    assert host.data == {"n": 5}


def repickled(mem: MemSync[Any]) -> MemSync[Any]:
    again: MemSync[Any] = pickle.loads(pickle.dumps(mem))
    return again


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, repickled])
def test_a_copy_in_the_process_of_its_original_shares_its_peer(
    host: MemSync[Any], copied: Callable[[MemSync[Any]], MemSync[Any]]
) -> None:
    mem = copied(host)
    mem.patch({"$inc": {"n": 1}})
    assert mem.id == host.id
    assert host.peers == []
    mem.stop()
    host.patch({"$inc": {"n": 1}})
    assert host.data == {"n": 2}


def test_a_copy_goes_on_after_its_original_has_stopped(host: MemSync[Any]) -> None:
    mem = pickle.loads(pickle.dumps(host))
    mem.start()
    host.stop()
    mem.patch({"$inc": {"n": 1}})
    assert mem.get_status()["status"] == "host"
    mem.stop()


def test_a_copy_does_not_start_its_original(engine: str) -> None:
    original: MemSync[Any] = MemSync("obj", {"n": 0}, engine=engine)
    with pickle.loads(pickle.dumps(original)) as mem:
        with pytest.raises(NotStartedError):
            original.patch({"$inc": {"n": 1}})
        original.start()
        assert original.id == mem.id
        original.stop()
        mem.patch({"$inc": {"n": 1}})


def test_the_copy_of_each_original_shares_with_that_one(engine: str) -> None:
    with (
        MemSync[Any]("obj", {"n": 0}, engine=engine) as first,
        MemSync[Any]("obj", {"n": 0}, engine=engine) as second,
    ):
        for original in (second, first):
            with repickled(repickled(original)) as mem:
                assert mem.id == original.id


def test_copies_of_two_originals_that_are_elsewhere_share_a_peer(
    host: MemSync[Any], pickled: bytes, engine: str
) -> None:
    other = pickle.dumps(MemSync("obj", {"n": 3}, {"timeout": 9}, engine=engine))
    with pickle.loads(pickled) as first, pickle.loads(other) as second:
        assert first.id == second.id


@pytest.mark.parametrize("options", [{"timeout": 8}, {"peer": {"roles": ["reader"]}}])
def test_other_options_are_another_peer(
    host: MemSync[Any], pickled: bytes, engine: str, options: dict[str, Any]
) -> None:
    other = pickle.dumps(MemSync("obj", {"n": 0}, options, engine=engine))
    with pickle.loads(pickled) as first, pickle.loads(other) as second:
        assert first.id != second.id
        assert len(host.peers) == 2


def test_another_name_or_folder_is_another_peer(
    host: MemSync[Any], pickled: bytes, engine: str, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = [pickle.dumps(MemSync("other", {"n": 0}, {"timeout": 9}, engine=engine))]
    if engine == "local":
        monkeypatch.setenv("MEMSYNC_DIR", str(tmp_path))
        names.append(pickle.dumps(MemSync("obj", {"n": 0}, {"timeout": 9})))
    with pickle.loads(pickled) as first:
        for each in names:
            with pickle.loads(each) as mem:
                assert mem.id != first.id
                assert mem.get_status()["status"] == "host"


@pytest.mark.usefixtures("stays")
def test_threads_that_unpickle_and_use_copies_at_once_share_a_peer(
    host: MemSync[Any], pickled: bytes
) -> None:
    barrier = threading.Barrier(8)

    def work(_: int) -> str:
        barrier.wait()
        mem = pickle.loads(pickled)
        mem.patch({"$inc": {"n": 1}})
        return str(mem.id)

    with ThreadPoolExecutor(8) as threads:
        assert len(set(threads.map(work, range(8)))) == 1
    assert host.data == {"n": 8}
    assert len(host.peers) <= 1


def counting(calls: list[Any]) -> Callable[[list[Any]], None]:
    return lambda patches: calls.append(len(patches))


def test_callbacks_belong_to_the_copy_that_registered_them(
    host: MemSync[Any], pickled: bytes
) -> None:
    copies = unpickled(pickled, 2)
    seen: list[list[Any]] = [[], []]
    for mem, calls in zip(copies, seen, strict=True):
        mem.on("connected", calls.append)
        mem.on("disconnected", calls.append)
        mem.on("received_patches", counting(calls))
        mem.start()
    host.patch({"$inc": {"n": 1}})
    until(lambda: seen == [["client", 1], ["client", 1]])
    copies[0].stop()
    until(lambda: seen[0] == ["client", 1, "stopped"])
    host.patch({"$inc": {"n": 1}})
    until(lambda: seen[1] == ["client", 1, 1])
    assert seen[0] == ["client", 1, "stopped"]
    copies[1].stop()
    until(lambda: seen[1] == ["client", 1, 1, "stopped"])


def test_a_copy_with_callbacks_is_in_use_although_it_is_gone(
    host: MemSync[Any], pickled: bytes, engine: str
) -> None:
    seen: list[int] = []
    mem = pickle.loads(pickled)
    mem.start()
    subscription = mem.on("received_patches", lambda patches: seen.append(len(patches)))
    keeper = pickle.loads(pickled)
    keeper.start()
    del mem
    keeper.stop()  # not the last use
    host.patch({"$inc": {"n": 1}})
    until(lambda: seen == [1])
    subscription.cancel()
    until(lambda: not host.peers, MOMENT)


def test_an_iterator_keeps_the_peer_of_a_copy_that_is_gone(
    host: MemSync[Any], pickled: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("memsync.leaver.STAY", 0)
    changes = pickle.loads(pickled).changes("n")
    gc.collect()
    host.patch({"$inc": {"n": 1}})
    assert next(changes)[0] == 1
    assert len(host.peers) == 1
    changes.close()
    del changes
    until(lambda: not host.peers, MOMENT)


def test_the_copies_in_a_forked_child_share_a_peer_of_the_child(
    host: MemSync[Any], pickled: bytes, engine: str
) -> None:
    copies = unpickled(pickled, 2)
    for mem in copies:
        mem.start()
    parent = copies[0].id
    pid = os.fork()
    if not pid:
        try:
            copies.append(pickle.loads(pickled))
            ids = {mem.id for mem in copies}
            copies[0].patch({"$set": {"child": len(ids)}})
            for mem in copies:
                mem.stop()
            os._exit(0 if len(ids) == 1 and parent not in ids else 3)
        finally:
            os._exit(4)
    assert os.waitpid(pid, 0)[1] == 0
    if engine == "local":  # a forked child of the other engine starts with no group
        host.wait_for({"child": 1}, timeout=5)
    copies[1].patch({"$inc": {"n": 1}})
    assert host.data["n"] == 1


def test_a_start_that_fails_may_be_repeated_by_any_copy(engine: str) -> None:
    options = {"network": {"maxWriters": 1}}
    pickled = pickle.dumps(MemSync("obj", {"n": 0}, options, engine=engine))
    copies = unpickled(pickled, 3)
    threads = threading.active_count()
    with MemSync[Any]("obj", {"n": 0}, options, engine=engine):
        for mem in copies:
            with pytest.raises(MaxWritersError):
                mem.patch({"$inc": {"n": 1}})
            assert mem.get_status()["status"] == "stopped"
    until(lambda: threading.active_count() <= threads, MOMENT)
    for mem in copies:
        mem.patch({"$inc": {"n": 1}})
    assert copies[0].data == {"n": 3}
    for mem in copies:
        mem.stop()


def test_an_interrupted_start_leaves_no_use_behind(
    host: MemSync[Any], pickled: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(engine: Any) -> None:
        raise KeyboardInterrupt

    first, second = unpickled(pickled, 2)
    with monkeypatch.context() as patched:
        patched.setattr("memsync.lifecycle.leave_at_exit", interrupted)
        with pytest.raises(KeyboardInterrupt):
            first.start()
    until(lambda: not host.peers)
    second.start()
    first.start()
    with monkeypatch.context() as patched:
        patched.setattr("memsync.lifecycle.leave_at_exit", interrupted)
        third = pickle.loads(pickled)
        with pytest.raises(KeyboardInterrupt):
            third.start()
    assert first.id == second.id
    first.stop()
    second.stop()
    until(lambda: not host.peers)
