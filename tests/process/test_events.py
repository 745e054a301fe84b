"""G10: events between processes: once, in one order with the patches, whoever dies."""

from __future__ import annotations

import os
import threading
import time
from typing import Any

import pytest

from memsync import Event, Gap, MemSync
from memsync.testing import Cluster, until

from .kill_rounds import kill_in_turn
from .test_start_methods import fork

pytestmark = pytest.mark.process

_heard: list[Any] = []  # in each peer
_writers: list[threading.Thread] = []


def listen(mem: MemSync[Any]) -> None:
    """Note all that this peer gets: patches by their pair, events, and gaps."""
    mem.on("received_patches", lambda p: _heard.extend(("patch", e["version"]) for e in p))
    mem.events.on("**", lambda name, *args: _heard.append((name, *args)))
    mem.on("gap", lambda count: _heard.append(("gap", count)))


def heard(mem: MemSync[Any]) -> list[Any]:
    return list(_heard)


def emit(mem: MemSync[Any], who: int, first: int, count: int) -> None:
    """Emit, every other time together with a patch, and wait for none of them."""
    for n in range(first, first + count):
        if n % 2:
            mem.submit([], emit=("e", who, n))
        else:
            mem.submit({"$push": {f"log.{who}": n}}, emit=("e", who, n))


def begin_to_emit(mem: MemSync[Any], who: int, count: int) -> None:
    _writers.append(threading.Thread(target=emit, args=(mem, who, 0, count)))
    _writers[0].start()


def has_emitted(mem: MemSync[Any]) -> bool:
    return not _writers[0].is_alive() and not mem.get_status()["pending"]


def events_of(story: list[Any]) -> list[Any]:
    return [each for each in story if each[0] == "e"]


@pytest.mark.parametrize(
    ("count", "kills"), [(300, 3), pytest.param(1000, 5, marks=pytest.mark.slow)]
)
def test_g10_once_each_in_one_order_with_the_patches_while_hosts_die(
    cluster: Cluster, count: int, kills: int
) -> None:
    cluster.start(3, {"log": {str(n): [] for n in range(5)}})
    writers = cluster.start(5, options={"clientOnly": True})
    for peer in writers:
        peer.run(listen)
    for number, peer in enumerate(writers):
        peer.run(begin_to_emit, number, count)
    for _ in range(kills):
        cluster.start(1)
        cluster.kill_host()
    until(lambda: all(peer.run(has_emitted) for peer in writers), timeout=100)
    data = cluster.settled()
    total = count * len(writers)
    until(lambda: all(len(events_of(peer.run(heard))) >= total for peer in writers))
    until(lambda: len({len(peer.run(heard)) for peer in writers}) == 1)
    first, *others = [peer.run(heard) for peer in writers]
    assert all(story == first for story in others)
    assert not any(each[0] == "gap" for each in first)
    for number in range(len(writers)):
        numbers = [n for _, who, n in events_of(first) if who == number]
        assert numbers == list(range(count))
        in_log = [n for n in numbers if n % 2 == 0]
        assert data["log"][str(number)] == in_log  # never the one without the other


def fill_and_emit(mem: MemSync[Any], count: int) -> None:
    """More than the host keeps for a peer that takes nothing."""
    for n in range(count):
        mem.patch({"$set": {"fill": f"{n}" * 20_000}}, emit=("e", 0, n))


def listen_to_events(mem: MemSync[Any]) -> None:
    """Without patches: those that are too large for the dispatcher count in gaps, too."""
    mem.events.on("**", lambda name, *args: _heard.append((name, *args)))
    mem.on("gap", lambda count: _heard.append(("gap", count)))


@pytest.mark.parametrize("seconds", [0, pytest.param(3, marks=pytest.mark.slow)])
def test_g10_a_peer_that_was_stopped_gets_an_exact_gap(cluster: Cluster, seconds: int) -> None:
    """One for each snapshot that came instead of entries; mostly there is one."""
    options = {"network": {"max_queue": 1 << 16, "max_log": 50}}
    _, writer, stopped = cluster.start(3, {"fill": ""}, options)
    stopped.run(listen_to_events)
    stopped.pause()
    begin = time.monotonic()
    writer.run(fill_and_emit, 200)
    until(lambda: time.monotonic() - begin >= seconds, timeout=seconds + 5)
    stopped.resume()
    until(lambda: stopped.version == writer.version)
    writer.run(emit, 0, 200, 4)
    until(lambda: ("e", 0, 203) in stopped.run(heard))
    story = stopped.run(heard)
    assert "gap" in [each[0] for each in story]
    reached = 0
    for what in story:
        if what[0] == "gap":
            reached += what[1]
        else:
            assert what == ("e", 0, reached), story
            reached += 1
    assert reached == 204


@pytest.mark.parametrize("kills", [4, pytest.param(20, marks=pytest.mark.slow)])
def test_g10_never_a_patch_without_its_event_where_a_host_or_a_writer_dies(
    cluster: Cluster, kills: int
) -> None:
    """A thousand kills: ``python -m tests.process.kill_rounds --kills 1000``."""
    assert kill_in_turn(cluster, kills)  # one signal may come before its process wrote, not all


def wait_for_event(mem: MemSync[Any], name: str) -> Any:
    return mem.events.wait(name, timeout=20, since=0)


def test_a_newcomer_gets_no_gap_and_waits_for_what_comes(cluster: Cluster) -> None:
    host, other = cluster.start(2)
    host.run(emit, 0, 0, 5)
    newcomer = cluster.start(1)[0]
    newcomer.run(listen)
    ticket = newcomer.begin(wait_for_event, "late.*")
    host.run(lambda mem: mem.events.emit("late.one", 7))
    found = newcomer.result(ticket)
    assert isinstance(found, Event)
    assert found.args == (7,)
    assert other.alive
    assert not any(each[0] == "gap" for each in newcomer.run(heard))


def first_items(mem: MemSync[Any]) -> list[Any]:
    with mem.events.stream("e", since=0) as stream:
        return [next(stream) for _ in range(3)]


def test_a_newcomer_that_asks_for_the_past_gets_a_gap_with_the_count(cluster: Cluster) -> None:
    host = cluster.start(1, {"log": {"0": []}}, {"network": {"max_log": 2}})[0]
    host.run(lambda mem: [mem.events.emit("e", n) for n in range(5)])
    newcomer = cluster.start(1)[0]
    ticket = newcomer.begin(first_items)
    until(lambda: newcomer.run(lambda mem: mem.events is not None))
    host.run(lambda mem: [mem.events.emit("e", n) for n in range(5, 8)])
    items = newcomer.result(ticket)
    assert items[0] == Gap(5)
    assert [each.args for each in items[1:]] == [(5,), (6,)]


def listen_in_a_forked_child(mem: MemSync[Any]) -> list[Any]:
    """What a handler and a stream of the parent get in the child, and then in the parent."""
    mem.events.on("e", lambda number: _heard.append(("e", number)))
    stream = mem.events.stream("e")
    mem.events.emit("e", 0)
    until(lambda: _heard == [("e", 0)])
    reading, writing = os.pipe()

    def task() -> None:
        _heard.clear()
        mem.events.emit("e", 1)
        until(lambda: bool(_heard))
        os.write(writing, repr((_heard, list(stream))).encode())

    assert os.waitpid(fork(task), 0)[1] == 0
    in_child = os.read(reading, 1000).decode()
    os.close(reading)
    os.close(writing)
    return [in_child, next(stream).args, next(stream).args]  # type: ignore[union-attr]


def test_a_forked_child_keeps_the_handlers_and_its_streams_have_ended(cluster: Cluster) -> None:
    peer = cluster.start(1)[0]
    in_child, *in_parent = peer.run(listen_in_a_forked_child)
    assert in_child == "([('e', 1)], [])"
    assert in_parent == [(0,), (1,)]
    until(lambda: peer.run(heard) == [("e", 0), ("e", 1)])
