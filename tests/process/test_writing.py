"""Writers and readers: roles, places, `submit`, deadlines, callbacks."""

from __future__ import annotations

import threading
import time
from concurrent.futures import Future
from typing import Any

import pytest

from memsync import (
    HostUnresponsiveError,
    MaxWritersError,
    MemErrors,
    MemSync,
    QueueFullError,
    ReadOnlyError,
    UpdateError,
    UsageError,
    WriteTimeoutError,
)
from memsync.testing import Cluster, Peer, until

from ..process_helpers import EVENTS_ONLY, LASTING

pytestmark = pytest.mark.process

READER: dict[str, Any] = {"peer": {"roles": []}}
SINGLE = {"network": {"maxWriters": 1}}


def test_a_peer_without_the_role_writer_reads_and_follows_but_does_not_write(
    cluster: Cluster,
) -> None:
    host = cluster.peer({"n": 1})
    reader = cluster.peer(options=READER)
    with pytest.raises(ReadOnlyError, match=r"peer\.roles") as caught:
        reader.patch({"$inc": {"n": 1}})
    assert (caught.value.code, caught.value.outcome) == (MemErrors.ERR_READ_ONLY, "not_applied")
    host.patch({"$inc": {"n": 1}})
    until(lambda: reader.snapshot("n") == 2)
    host.kill()
    until(lambda: reader.status()["status"] == "host")
    with pytest.raises(ReadOnlyError):
        reader.patch({"$inc": {"n": 1}})
    assert cluster.peer().patch({"$inc": {"n": 1}})
    assert cluster.settled() == {"n": 3}


def test_g8_a_second_writer_is_refused_and_a_reader_is_not(cluster: Cluster) -> None:
    writer = cluster.peer({"n": 0}, SINGLE)
    second = cluster.peer(options=SINGLE, start=False)
    with pytest.raises(MaxWritersError, match=f"process {writer.pid}") as caught:
        second.start()
    assert (caught.value.code, caught.value.outcome) == (MemErrors.ERR_MAX_WRITERS, "not_applied")
    assert "peer.roles" in str(caught.value)
    assert second.status()["status"] == "stopped"
    unlimited = cluster.peer(start=False)
    with pytest.raises(MaxWritersError):
        unlimited.start()
    reader = cluster.peer(options=READER)
    writer.patch({"$inc": {"n": 1}})
    assert cluster.settled([writer, reader]) == {"n": 1}
    assert writer.status()["peers"] == 1


def start_when_free(mem: MemSync[Any]) -> None:
    """Start as soon as a place for a writer is free."""

    def starts() -> bool:
        try:
            mem.start()
        except MaxWritersError:
            return False
        return True

    until(starts, 15)


@pytest.mark.parametrize("host", ["the reader", "the writer"])
def test_g8_the_place_of_a_killed_writer_is_free_within_a_second(
    cluster: Cluster, host: str
) -> None:
    """The end of its connection tells of its death; whatever else could would take a minute."""
    single = {"network": {"maxWriters": 1, **EVENTS_ONLY["network"]}}
    reader = {**READER, **EVENTS_ONLY}
    order = [single, reader] if host == "the writer" else [reader, single]
    peers = [cluster.peer({"n": 0}, options) for options in order]
    writer = peers[order.index(single)]
    writer.patch({"$inc": {"n": 1}})
    second = cluster.peer(options=SINGLE, start=False)
    with pytest.raises(MaxWritersError):
        second.start()
    writer.kill()
    second.run(start_when_free)
    second.patch({"$inc": {"n": 1}})
    assert cluster.settled() == {"n": 2}


def test_g8_a_writers_place_is_free_as_soon_as_it_stopped(cluster: Cluster) -> None:
    cluster.peer({"n": 0}, {**READER, **EVENTS_ONLY})
    writer = cluster.peer(options=SINGLE)
    second = cluster.peer(options=SINGLE, start=False)
    for _ in range(5):
        writer.stop()
        second.run(start_when_free)
        writer, second = second, writer


def test_g8_a_frozen_writer_keeps_its_place(cluster: Cluster) -> None:
    cluster.peer({"n": 0}, READER)
    writer = cluster.peer(options=SINGLE)
    writer.pause()
    try:
        with pytest.raises(MaxWritersError):
            cluster.peer(options=SINGLE, start=False).start()
    finally:
        writer.resume()
    writer.patch({"$inc": {"n": 1}})


def test_g8_the_limit_holds_when_newcomers_race_in_the_moment_of_the_hosts_death(
    cluster: Cluster,
) -> None:
    two = {"network": {"maxWriters": 2}}

    def try_to_start(mem: MemSync[Any]) -> str | None:
        try:
            return mem.start()
        except MaxWritersError:
            return None

    for _ in range(5):
        host = cluster.peer({"n": 0}, two) if not cluster.living else cluster.host()
        if len(cluster.living) == 1:
            cluster.peer(options=two)
        newcomers = [cluster.peer(options=two, start=False) for _ in range(4)]
        tickets = [(peer, peer.begin(try_to_start)) for peer in newcomers]
        host.kill()
        roles = {peer: peer.result(ticket) for peer, ticket in tickets}
        joined = [peer for peer, role in roles.items() if role]
        assert len(joined) <= 1, roles
        for peer in newcomers:
            if peer not in joined:
                peer.kill()


def test_futures_of_submit_come_in_order_with_growing_versions(cluster: Cluster) -> None:
    def submit_many(mem: MemSync[Any]) -> tuple[list[int], list[int]]:
        futures = [mem.submit({"$push": {"list": i}}) for i in range(500)]
        return [future.result(10) for future in futures], mem.snapshot("list")

    for peer in cluster.start(2, {"list": []}):
        versions, values = peer.run(submit_many)
        assert values[-500:] == list(range(500))
        assert versions == sorted(set(versions))
    assert len(cluster.settled()["list"]) == 1000


def test_a_future_carries_the_error_of_its_write_only(cluster: Cluster) -> None:
    def submit_some(mem: MemSync[Any]) -> list[type]:
        futures = [mem.submit(u) for u in ({"$inc": {"n": 1}}, {"$inc": {"s": 1}}) * 20]
        return [type(future.exception(10)) for future in futures]

    for peer in cluster.start(2, {"n": 0, "s": "text"}):
        assert peer.run(submit_some) == [type(None), UpdateError] * 20
    assert cluster.settled()["n"] == 40


def test_callbacks_of_futures_run_on_the_dispatcher_in_order_and_may_write(
    cluster: Cluster,
) -> None:
    def submit_some(mem: MemSync[Any]) -> list[tuple[str, int]]:
        import threading

        seen: list[tuple[str, int]] = []

        def done(future: Future[int]) -> None:
            seen.append((threading.current_thread().name, future.result()))
            if len(seen) == 50:
                mem.patch({"$set": {"from_callback": True}})

        for _ in range(50):
            mem.submit({"$inc": {"n": 1}}).add_done_callback(done)
        until(lambda: len(seen) == 50)
        until(lambda: mem.snapshot("from_callback"))
        late = mem.submit({"$inc": {"n": 1}})
        late.result(5)
        late.add_done_callback(done)
        until(lambda: len(seen) == 51)
        return seen

    for peer in cluster.start(2, {"n": 0}):
        seen = peer.run(submit_some)
        assert {name for name, _ in seen} == {"memsync-dispatch"}
        assert [version for _, version in seen] == sorted(version for _, version in seen)


def test_a_full_window_holds_submit_up_and_then_refuses_it(cluster: Cluster) -> None:
    host = cluster.peer({"n": 0}, LASTING)
    client = cluster.peer(options={"network": {"window": 8}, "timeout": 3600})

    def overfill(mem: MemSync[Any]) -> tuple[float, QueueFullError]:
        for _ in range(8):
            mem.submit({"$inc": {"n": 1}})
        begin = time.monotonic()
        try:
            mem.submit({"$inc": {"n": 100}}, timeout=0.3)
        except QueueFullError as error:
            return time.monotonic() - begin, error
        raise AssertionError("nothing was raised")

    host.pause()
    try:
        waited, error = client.run(overfill)
    finally:
        host.resume()
    assert waited > 0.25
    assert "network.window" in str(error)
    assert (error.code, error.outcome) == (MemErrors.ERR_QUEUE_FULL, "not_applied")
    until(lambda: client.status()["pending"] == 0)
    assert client.patch({"$inc": {"n": 10}})
    assert cluster.settled() == {"n": 18}


def test_a_window_of_one_still_takes_any_number_of_writes(cluster: Cluster) -> None:
    cluster.peer({"n": 0})
    client = cluster.peer(options={"network": {"window": 1}})

    def many(mem: MemSync[Any]) -> list[int]:
        futures = [mem.submit({"$inc": {"n": 1}}) for _ in range(100)]
        return [future.result(5) for future in futures]

    assert len(client.run(many)) == 100
    assert client.snapshot("n") == 100


def timed_patch(mem: MemSync[Any], timeout: float) -> tuple[float, Exception | None]:
    """How long a patch took, and what it raised."""
    begin = time.monotonic()
    try:
        mem.patch({"$inc": {"n": 1}}, timeout=timeout)
    except Exception as error:
        return time.monotonic() - begin, error
    return time.monotonic() - begin, None


def test_g2_a_write_that_timed_out_is_applied_exactly_once_when_the_host_goes_on(
    cluster: Cluster,
) -> None:
    host, client = cluster.start(2, {"n": 0}, LASTING)
    host.pause()
    try:
        waited, error = client.run(timed_patch, 0.3)
        pending = client.status()["pending"]
    finally:
        host.resume()
    assert type(error) is WriteTimeoutError
    assert isinstance(error, TimeoutError)
    assert (error.code, error.outcome) == (MemErrors.ERR_WRITE_TIMEOUT, "unknown")
    assert waited > 0.29
    assert pending == 1
    until(lambda: client.snapshot("n") == 1)
    client.patch({"$inc": {"n": 10}})
    assert cluster.settled() == {"n": 11}
    assert client.status()["pending"] == 0


def test_g2_a_write_that_timed_out_is_applied_once_although_the_host_dies(
    cluster: Cluster,
) -> None:
    host, client = cluster.start(2, {"n": 0}, LASTING)
    host.pause()
    _, error = client.run(timed_patch, 0.1)
    assert type(error) is WriteTimeoutError
    host.kill()
    until(lambda: client.status()["pending"] == 0)
    assert client.snapshot() == {"n": 1}


def test_a_timeout_of_zero_asks_nobody_to_wait(cluster: Cluster) -> None:
    host, client = cluster.start(2, {"n": 0}, LASTING)
    host.pause()
    _, error = client.run(timed_patch, 0)
    assert type(error) is WriteTimeoutError
    assert error.outcome == "unknown"
    host.resume()
    until(lambda: host.snapshot("n") == 1)


def test_a_ping_of_a_frozen_host_names_its_process(cluster: Cluster) -> None:
    host, client = cluster.start(2, options=LASTING)
    host.pause()
    try:
        with pytest.raises(HostUnresponsiveError) as caught:
            client.run(lambda mem: mem.ping(timeout=0.2))
    finally:
        host.resume()
    assert caught.value.pid == host.pid
    assert client.run(lambda mem: mem.ping())["host"]["time"] < 5


def test_g12_a_start_that_meets_only_a_frozen_host_names_it_and_founds_nothing(
    cluster: Cluster,
) -> None:
    host = cluster.peer({"marker": "original"})
    newcomer = cluster.peer({"marker": "newcomer"}, {"timeout": 0.5}, start=False)
    host.pause()
    try:
        with pytest.raises(HostUnresponsiveError, match=str(host.pid)) as caught:
            newcomer.start()
    finally:
        host.resume()
    assert caught.value.pid == host.pid

    def starts() -> bool:
        try:
            return newcomer.start() == "client"
        except HostUnresponsiveError:  # half a second is little on a busy machine
            return False

    until(starts)
    assert newcomer.snapshot("marker") == "original"


def test_a_start_without_time_does_not_blame_a_healthy_host(cluster: Cluster) -> None:
    host, newcomer = cluster.peer(), cluster.peer(start=False)
    with pytest.raises(HostUnresponsiveError, match=f"process {host.pid}, .* had not the time"):
        newcomer.run(MemSync.start, timeout=0)
    assert newcomer.start() == "client"


def test_received_patches_tells_every_entry_once_and_in_order_to_all(cluster: Cluster) -> None:
    peers = cluster.start(3, {"n": 0})

    def listen(mem: MemSync[Any]) -> None:
        heard = mem.__dict__["heard"] = []
        mem.on("received_patches", heard.extend)

    for peer in peers:
        peer.run(listen)
    first = max(peer.version for peer in peers) + 1
    for _ in range(20):
        for peer in peers:
            peer.patch({"$inc": {"n": 1}})
    ids = {peer.run(lambda mem: mem.id) for peer in peers}
    histories = []
    for peer in peers:
        histories.append(wait_for_history(peer, 60))
    assert histories[0] == histories[1] == histories[2]
    assert [change["version"] for change in histories[0]] == list(range(first, first + 60))
    assert {change["peer"] for change in histories[0]} == ids
    values = [change["patch"] for change in histories[0]]
    assert values == [[{"op": "replace", "path": "/n", "value": i + 1}] for i in range(60)]


def wait_for_history(peer: Peer, length: int) -> list[Any]:
    """Wait until the peer has heard of that many entries; returns them."""
    until(lambda: len(peer.run(lambda mem: mem.heard)) >= length)
    heard: list[Any] = peer.run(lambda mem: mem.heard)
    return heard


def test_a_failing_callback_stops_nobody_else_and_a_cancelled_one_is_not_called(
    cluster: Cluster,
) -> None:
    def listen(mem: MemSync[Any]) -> None:
        calls = mem.__dict__["calls"] = []

        def fail(_: object) -> None:
            calls.append("failing")
            raise LookupError("on purpose")

        mem.on("received_patches", fail)
        cancelled = mem.on("received_patches", lambda _: calls.append("cancelled"))
        mem.on("received_patches", lambda _: calls.append("other"))
        cancelled.cancel()
        cancelled.cancel()

    host, client = cluster.start(2, {"n": 0})
    client.run(listen)
    for expected in (["failing", "other"], ["failing", "other"] * 2):
        host.patch({"$inc": {"n": 1}})
        wait_for_calls(client, expected)


def wait_for_calls(peer: Peer, expected: list[str]) -> None:
    """Wait until exactly these callbacks have been called."""
    until(lambda: len(peer.run(lambda mem: mem.calls)) >= len(expected))
    assert peer.run(lambda mem: mem.calls) == expected


def test_connected_tells_the_role_also_after_a_take_over(cluster: Cluster) -> None:
    def listen(mem: MemSync[Any]) -> None:
        roles = mem.__dict__["roles"] = []
        mem.on("connected", roles.append)

    host = cluster.peer(start=False)
    client = cluster.peer(start=False)
    for peer in (host, client):
        peer.run(listen)
        peer.start()
    until(lambda: host.run(lambda mem: mem.roles) == ["host"])
    until(lambda: client.run(lambda mem: mem.roles) == ["client"])
    host.kill()
    until(lambda: client.run(lambda mem: mem.roles) == ["client", "host"])


def test_threads_of_one_peer_write_side_by_side_in_one_order(cluster: Cluster) -> None:
    def write(mem: MemSync[Any], thread: str) -> list[int]:
        return [mem.patch({"$push": {"list": [thread, i]}}) for i in range(100)]

    host, client = cluster.start(2, {"list": []})
    tickets = [(p, p.begin(write, f"{p.pid}.{i}")) for p in (host, client) for i in range(4)]
    versions = [version for peer, ticket in tickets for version in peer.result(ticket, 60)]
    assert len(set(versions)) == 800
    final = cluster.settled()["list"]
    for thread in {thread for thread, _ in final}:
        assert [i for t, i in final if t == thread] == list(range(100))


def test_every_callback_of_a_future_is_called_however_slow_the_first_one_is(
    cluster: Cluster,
) -> None:
    host = cluster.peer({"n": 0})

    def submit(mem: MemSync[Any]) -> tuple[list[Future[int]], list[Future[int]]]:
        gate = threading.Event()
        called: list[Future[int]] = []
        mem.submit({"$inc": {"n": 1}}).add_done_callback(lambda future: gate.wait(60))
        futures = []
        for _ in range(12_000):
            futures.append(mem.submit({"$inc": {"n": 1}}))
            futures[-1].add_done_callback(called.append)
        for future in futures:
            future.result(60)
        gate.set()
        mem.stop()
        futures[0].add_done_callback(called.append)  # done, and the peer has stopped
        return futures, called

    def count(mem: MemSync[Any]) -> int:
        futures, called = submit(mem)
        until(lambda: len(called) > len(futures))
        until(lambda: not [t for t in threading.enumerate() if "memsync" in t.name])
        return len(called)

    assert host.result(host.begin(count), 90) == 12_001


def test_transact_keeps_to_its_timeout_and_refuses_what_is_no_function(cluster: Cluster) -> None:
    host, client = cluster.start(2, {"n": 0}, LASTING)
    with pytest.raises(UsageError, match="function"):
        client.run(lambda mem: mem.transact(None))
    host.pause()

    def change(draft: Any) -> None:
        draft["n"] += 1

    with pytest.raises(WriteTimeoutError):
        client.run(lambda mem: mem.transact(change, timeout=0.5))
    host.resume()


def test_ping_that_a_signal_handler_breaks_off_leaves_the_link_usable(cluster: Cluster) -> None:
    cluster.peer({"n": 0})
    program = cluster.script(
        """
        import random, signal
        from memsync import MemSync
        class Alarm(Exception):
            pass
        def handler(number, frame):
            raise Alarm
        signal.signal(signal.SIGALRM, handler)
        with MemSync("obj") as mem:
            for _ in range(100):
                try:
                    try:
                        signal.setitimer(signal.ITIMER_REAL, random.uniform(2e-5, 3e-4))
                        mem.ping(timeout=20)
                    finally:
                        signal.setitimer(signal.ITIMER_REAL, 0)
                except Alarm:
                    pass
                mem.patch({"$inc": {"n": 1}}, timeout=20)
            print(mem.data["n"])
        """
    )
    out, err = program.communicate(timeout=60)
    assert (out, program.returncode) == ("100\n", 0), err


def test_a_start_while_the_host_goes_never_fails(cluster: Cluster) -> None:
    for i in range(60):
        with MemSync[Any]("race", {"n": 0}) as one:
            two = MemSync[Any]("race")
            leaving = threading.Timer(i % 12 / 3000, one.stop)
            leaving.start()
            assert two.start() in ("host", "client")
            leaving.join()
            two.stop()
