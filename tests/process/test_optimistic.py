"""A peer shows its own writes at once, and takes back what the host refuses (G4, G7)."""

from __future__ import annotations

import random
import sys
import threading
import time
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest

from memsync import (
    ConditionError,
    ConflictError,
    MemErrors,
    MemSync,
    MemSyncError,
    OptionsError,
    UpdateError,
    WriteTimeoutError,
)
from memsync.clocks import wall_ms
from memsync.document import apply_update
from memsync.testing import Cluster, Peer, until

from ..process_helpers import LASTING, read_line, write_line

pytestmark = pytest.mark.process


@pytest.mark.parametrize("role", ["host", "client"])
def test_g4_what_was_submitted_is_read_before_it_is_acknowledged(
    cluster: Cluster, role: str
) -> None:
    host = cluster.peer({"n": 0, "list": []})
    peer = host if role == "host" else cluster.peer()

    def write(mem: MemSync[Any]) -> Any:
        before = mem.version
        futures = []
        for i in range(1, 200):
            futures.append(mem.submit({"$inc": {"n": 1}, "$push": {"list": i}}))
            assert mem.data["n"] == i == mem.snapshot("n")
            assert mem.data["list"][-1] == i
        versions = [future.result(10) for future in futures]
        assert versions == sorted(versions)
        assert versions[0] > before
        assert mem.version >= versions[-1]
        return mem.snapshot()

    assert peer.run(write) == {"n": 199, "list": [*range(1, 200)]}


def test_what_a_frozen_host_cannot_answer_is_shown_and_stays_pending(cluster: Cluster) -> None:
    host, client = cluster.start(2, {"n": 0}, LASTING)

    def write(mem: MemSync[Any]) -> tuple[int, bool, int]:
        version = mem.version
        with pytest.raises(WriteTimeoutError):
            mem.patch({"$inc": {"n": 5}}, timeout=0.2)
        status = mem.get_status()
        return mem.data["n"], mem.version == version, status["pending"]

    host.pause()
    assert client.run(write) == (5, True, 1)
    host.resume()
    until(lambda: host.snapshot("n") == 5)
    until(lambda: client.status()["pending"] == 0)
    assert client.snapshot("n") == 5


def test_a_refused_write_disappears_before_its_error_is_raised_and_rolled_back_fires(
    cluster: Cluster,
) -> None:
    host, client = cluster.start(2, {"text": "x", "n": 0})

    def write(mem: MemSync[Any]) -> tuple[Any, Any, list[str]]:
        told: list[MemSyncError] = []
        mem.on("rolled_back", told.append)
        # Shown here, as this peer does not know better; the host has a string there meanwhile.
        future = mem.submit({"$inc": {"n": 1}, "$set": {"mine": 1}})
        shown = mem.snapshot()
        with pytest.raises(UpdateError):
            future.result(10)
        gone = mem.snapshot()
        deadline = time.monotonic() + 10
        while not told and time.monotonic() < deadline:
            threading.Event().wait(0.005)
        return shown, gone, [error.code for error in told]

    client.pause()
    host.patch({"$set": {"n": "text"}})
    # The client makes its write before it reads what the host has sent.
    ticket = client.begin(write)
    client.resume()
    shown, gone, codes = client.result(ticket)
    if "mine" in shown:
        assert codes == [MemErrors.ERR_UPDATE]
    assert "mine" not in gone
    assert cluster.settled() == {"text": "x", "n": "text"}


def test_a_write_whose_condition_is_unmet_is_never_shown_and_nothing_is_rolled_back(
    cluster: Cluster,
) -> None:
    _, client = cluster.start(2, {"state": "busy"})

    def write(mem: MemSync[Any]) -> tuple[Any, list[MemSyncError]]:
        told: list[MemSyncError] = []
        mem.on("rolled_back", told.append)
        future = mem.submit({"$set": {"state": "mine"}}, where={"state": "free"})
        shown = mem.snapshot()
        with pytest.raises(ConditionError):
            future.result(10)
        mem.patch({"$set": {"other": 1}})
        return shown, told

    assert client.run(write) == ({"state": "busy"}, [])


# -- conflicts -------------------------------------------------------------------------------------


def meet(
    cluster: Cluster, first: Peer, second: Peer, one: Any, other: Any, **kwargs: Any
) -> tuple[Any, Any]:
    """`second` writes `other` and then `first` writes `one`; neither has seen the other's.

    The host is frozen meanwhile; which of the two it takes first is not ours to say.
    """
    host = cluster.host()
    host.pause()
    late = second.begin(_outcome, other, kwargs)
    until_pending(second)
    pending = wall_ms()
    until(lambda: wall_ms() > pending)  # timestamps of the same millisecond decide nothing
    early = first.begin(_outcome, one, kwargs)
    until_pending(first)
    host.resume()
    return first.result(early), second.result(late)


def until_pending(peer: Peer) -> None:
    """Wait until the peer has a write under way."""
    until(lambda: peer.status()["pending"] == 1)


def _outcome(mem: MemSync[Any], update: Any, kwargs: dict[str, Any]) -> int | MemSyncError:
    try:
        return mem.patch(update, **kwargs)
    except MemSyncError as error:
        return error


def test_g7_of_two_writes_that_had_not_seen_each_other_the_newer_one_wins(
    cluster: Cluster,
) -> None:
    """Whichever of them the host takes first."""
    _, one, two = cluster.start(3, {"a": 0}, LASTING)
    for _ in range(10):
        older, newer = two, one
        first, second = meet(cluster, newer, older, {"$set": {"a": "new"}}, {"$set": {"a": "old"}})
        assert isinstance(first, int)
        assert cluster.settled() == {"a": "new"}
        if isinstance(second, ConflictError):
            assert (second.path, second.value, second.outcome) == ("/a", "new", "not_applied")
            assert second.version is not None
            assert second.patches is not None
            assert second.version >= first
            (patch,) = [p for p in second.patches if p["version"] == first]
            assert patch["patch"] == [{"op": "replace", "path": "/a", "value": "new"}]
        else:
            assert second < first  # it came first and was overwritten
        older.patch({"$set": {"a": 0}})
        cluster.settled()


def test_g7_in_strict_mode_one_of_the_two_is_refused_whatever_the_clocks_say(
    cluster: Cluster,
) -> None:
    _, one, two = cluster.start(3, {"a": 0}, {"conflict": "strict", **LASTING})
    for _ in range(5):
        outcomes = meet(cluster, one, two, {"$set": {"a": 1}}, {"$set": {"a": 2}})
        one.patch({"$set": {"a": 0}})
        assert sorted(type(outcome).__name__ for outcome in outcomes) == ["ConflictError", "int"]
        cluster.settled()


def test_g7_writes_that_commute_never_conflict(cluster: Cluster) -> None:
    _, one, two = cluster.start(3, {"n": 0, "list": []}, {"conflict": "strict", **LASTING})
    update = {"$inc": {"n": 1}, "$push": {"list": 1}, "$set": {"same": True}}
    outcomes = meet(cluster, one, two, update, update)
    assert all(isinstance(outcome, int) for outcome in outcomes)
    assert cluster.settled() == {"n": 2, "list": [1, 1], "same": True}


def test_what_has_a_condition_is_decided_by_it_and_not_by_timestamps(cluster: Cluster) -> None:
    _, one, two = cluster.start(3, {"a": 0}, {"conflict": "strict", **LASTING})
    outcomes = meet(cluster, one, two, {"$set": {"a": 1}}, {"$set": {"a": 2}}, where={"a": 0})
    names = sorted(type(outcome).__name__ for outcome in outcomes)
    assert names == ["ConditionError", "int"]


def test_a_joiner_that_states_another_conflict_rule_is_refused_by_name(cluster: Cluster) -> None:
    cluster.peer({}, {"conflict": "strict"})
    with pytest.raises(OptionsError, match="conflict is 'strict'"):
        cluster.peer(options={"conflict": "timestamp"})
    assert cluster.peer().status()["status"] == "client"


@pytest.mark.parametrize("pair", ["set set", "set unset", "set inc", "inner outer"])
def test_with_the_rule_last_the_order_decides_and_nothing_is_refused(
    cluster: Cluster, pair: str
) -> None:
    pairs: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
        "set set": ({"$set": {"a.n": 1}}, {"$set": {"a.n": 2}}),
        "set unset": ({"$set": {"a.n": 1}}, {"$unset": {"a.n": ""}}),
        "set inc": ({"$set": {"a.n": 1}}, {"$inc": {"a.n": 5}}),
        "inner outer": ({"$set": {"a.n": 1}}, {"$set": {"a": {"m": 2}}}),
    }
    older, newer = pairs[pair]
    _, one, two = cluster.start(3, {"a": {"n": 0}}, {"conflict": "last", **LASTING})
    for _ in range(5):
        first, second = meet(cluster, one, two, newer, older)
        assert isinstance(first, int)
        assert isinstance(second, int)
        expected: dict[str, Any] = {"a": {"n": 0}}
        for update in [older, newer] if second < first else [newer, older]:
            expected = apply_update(expected, update)
        assert cluster.settled() == expected
        one.patch({"$set": {"a": {"n": 0}}})
        cluster.settled()


# -- indexes ---------------------------------------------------------------------------------------

RULES = ["timestamp", "strict", "last"]


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("role", ["host", "client"])
def test_a_list_never_changes_another_element_than_its_writer_saw(
    cluster: Cluster, role: str, rule: str
) -> None:
    """Both remove an element; whoever comes second is refused, also on the host."""
    options = {"conflict": rule, **LASTING}
    host, one, two = cluster.start(3, {"l": ["a", "b", "c", "d"]}, options)
    first = one if role == "client" else host
    for _ in range(3):
        if role == "client":
            front = [{"op": "remove", "path": "/l/0"}]
            back = [{"op": "replace", "path": "/l/2", "value": "C"}]
            outcomes = meet(cluster, first, two, front, back)
        else:
            outcomes = host.run(remove_and_be_overtaken), None
        found = cluster.settled()["l"]
        if isinstance(outcomes[1], ConflictError):
            assert found == ["b", "c", "d"]
            assert outcomes[1].path == "/l/2"
        else:
            assert found in (["b", "C", "d"], ["b", "c", "d"])
        one.patch({"$set": {"l": ["a", "b", "c", "d"]}})
        cluster.settled()


def remove_and_be_overtaken(mem: MemSync[Any]) -> None:
    """The host has seen all that it has ordered, so its own lists are always accepted."""
    mem.patch([{"op": "remove", "path": "/l/0"}])
    assert mem.snapshot("l") == ["b", "c", "d"]
    mem.submit([{"op": "remove", "path": "/l/0"}])
    mem.patch([{"op": "replace", "path": "/l/1", "value": "D"}])
    assert mem.snapshot("l") == ["c", "D"]
    mem.patch({"$set": {"l": ["b", "c", "d"]}})


def test_a_list_counts_on_own_writes_that_are_pending(cluster: Cluster) -> None:
    host, one = cluster.start(2, {"l": ["a", "b", "c"]}, LASTING)
    host.pause()
    pending = one.begin(_pop_and_replace)
    until(lambda: one.status()["pending"] == 2)
    host.resume()
    one.result(pending)
    assert cluster.settled()["l"] == ["b", "C"]


def _pop_and_replace(mem: MemSync[Any]) -> None:
    pop = mem.submit({"$pop": {"l": -1}})
    assert mem.data["l"] == ["b", "c"]
    change = mem.submit([{"op": "replace", "path": "/l/1", "value": "C"}])
    assert pop.result(20) < change.result(20)


# -- all of it together ----------------------------------------------------------------------------


def mixed(mem: MemSync[Any], name: str, total: int, seed: int) -> dict[int, str]:
    """Many overlapping updates, some in flight at a time; what became of each, by number."""
    chance = random.Random(seed)
    outcomes: dict[int, str] = {}
    futures: list[tuple[int, Future[int]]] = []

    def collect(keep: int) -> None:
        while len(futures) > keep:
            number, future = futures.pop(0)
            error = future.exception(60)
            outcomes[number] = type(error).__name__ if error else "ok"

    for number in range(total):
        place = chance.randrange(3)
        update: dict[str, Any] = chance.choice(
            [
                {"$inc": {"count": 1}},
                {"$set": {f"shared.{place}": [name, number]}},
                {"$unset": {f"shared.{place}": ""}},
                {"$push": {"queue": {"$each": [number], "$slice": -20}}},
                {"$addToSet": {"names": name}},
                {"$pop": {"queue": -1}},
                {"$set": {f"shared.{place}.0": number}},
                {"$max": {"top": number}},
                {"$inc": {f"shared.{place}": 1}},
            ]
        )
        kind, fields = next(iter(update.items()))
        own = {"$push": {f"log.{name}": number, **fields}} if kind == "$push" else {
            **update, "$push": {f"log.{name}": number}
        }  # fmt: skip
        futures.append((number, mem.submit(own, timeout=60)))
        collect(50)
    collect(0)
    return outcomes


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_g1_g2_g3_g7_4_peers_write_5000_mixed_updates_each_while_10_hosts_are_killed(
    cluster: Cluster,
) -> None:
    writer = {"clientOnly": True}
    cluster.peer({"count": 0, "queue": [], "shared": {}, "log": {}})
    writers = {f"w{i}": cluster.peer(options=writer) for i in range(4)}
    spares = [cluster.peer() for _ in range(2)]
    total = 5000
    tickets = {
        name: peer.begin(mixed, name, total, seed)
        for seed, (name, peer) in enumerate(writers.items())
    }

    def progress() -> int:
        return sum(map(len, spares[0].snapshot("log").values()))

    def wait_for_progress(goal: int) -> None:
        until(lambda: progress() >= goal, 120)

    for kill in range(10):
        wait_for_progress(kill * total // 5)
        cluster.host().kill()
        spares = [peer for peer in spares if peer.alive] + [cluster.peer()]
    outcomes = {name: peer.result(tickets[name], 120) for name, peer in writers.items()}
    document = cluster.settled()
    kinds: dict[str, int] = {}
    for name, by_number in outcomes.items():
        accepted = [number for number, outcome in by_number.items() if outcome == "ok"]
        assert document["log"][name] == accepted
        for outcome in by_number.values():
            kinds[outcome] = kinds.get(outcome, 0) + 1
    assert set(kinds) == {"ok", "ConflictError", "UpdateError"}
    assert sum(kinds.values()) == 4 * total
    assert min(kinds.values()) > 10, kinds
    assert cluster.host().status()["epoch"] >= 11


def test_g4_no_thread_sees_a_value_go_back_while_others_write_the_same_places(
    cluster: Cluster,
) -> None:
    """Readers without any lock, threads switched as often as Python can, constant rebases.

    On a busy machine the host may not run for seconds. It must not be deposed for that, because
    what a deposed host shows may go back.
    """
    data = {"n": 0, "o": {"x": 0, "keys": {}}, "list": [0]}
    host, one, two = cluster.start(3, data, LASTING)

    def hammer(mem: MemSync[Any]) -> list[object]:
        sys.setswitchinterval(1e-6)
        wrong: list[object] = []
        done = threading.Event()

        def watch() -> None:
            last = (0, 0, 0, 0, (0, 0))
            data = mem.data
            while not done.is_set():
                pair = (mem.epoch, mem.version)
                now = (data["n"], data["o"]["x"], len(data["list"]), len(data["o"]["keys"]), pair)
                if any(a < b for a, b in zip(now, last, strict=True)):
                    wrong.append((last, now))
                    return
                last = now

        threads = [threading.Thread(target=watch) for _ in range(2)]
        for thread in threads:
            thread.start()
        futures = [
            mem.submit(
                {
                    "$inc": {"n": 1, "o.x": 1},
                    "$push": {"list": i},
                    "$set": {f"o.keys.{mem.id}{i}": i},
                }
            )
            for i in range(1500)
        ]
        for future in futures:
            future.result(60)
        done.set()
        for thread in threads:
            thread.join()
        sys.setswitchinterval(0.005)
        return wrong

    tickets = [(peer, peer.begin(hammer)) for peer in (host, one, two)]
    for peer, ticket in tickets:
        assert peer.result(ticket, 100) == []
    document = cluster.settled()
    assert (document["n"], document["o"]["x"], len(document["list"])) == (4500, 4500, 4501)
    assert len(document["o"]["keys"]) == 4500


def test_all_threads_of_a_peer_share_one_order_submitted_or_not(cluster: Cluster) -> None:
    _, client = cluster.start(2, {"list": []})

    def write(mem: MemSync[Any]) -> Any:
        order: list[tuple[int, int]] = []

        def work(thread: int) -> None:
            for i in range(100):
                update = {"$push": {"list": [thread, i]}}
                if i % 3:
                    mem.submit(update)
                else:
                    mem.patch(update)
                order.append((thread, i))

        threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        mem.patch({"$set": {"done": True}})
        return mem.snapshot("list")

    found = client.run(write)
    assert len(found) == 800
    for thread in range(8):
        assert [i for each, i in found if each == thread] == [*range(100)]
    assert cluster.settled()["list"] == found


def test_g3_a_peer_frozen_during_a_change_of_host_sends_its_writes_again(
    cluster: Cluster, tmp_path: Path
) -> None:
    """The host and the writer had it; the host dies, the writer is frozen while others recover."""
    host, writer, other = cluster.start(3, {"n": 0})
    other.pause()
    writer.patch({"$inc": {"n": 1}})
    writer.patch({"$set": {"mine": 1}})
    writer.pause()
    host.kill()
    other.resume()
    until(lambda: other.status()["status"] == "host")
    other.patch({"$inc": {"n": 10}})
    writer.resume()
    assert cluster.settled()["n"] == 11
    assert cluster.settled()["mine"] == 1


@pytest.mark.parametrize(("writes", "remembered"), [(3000, 10_000), (4000, 100)])
def test_g3_more_writes_than_fit_the_window_come_back_and_what_cannot_is_told(
    cluster: Cluster, writes: int, remembered: int
) -> None:
    """Host and writer had them; the host dies and the writer is frozen while another recovers."""
    options = {"network": {"maxLog": remembered}}
    host = cluster.peer({"n": 0, "list": []})
    writer = cluster.peer(options=options)
    other = cluster.peer()

    def write(mem: MemSync[Any]) -> int:
        told = mem.__dict__["told"] = []
        mem.on("rolled_back", told.append)
        # The texts make it more than the kernel keeps for a frozen peer.
        futures = [
            mem.submit(
                {"$inc": {"n": 1}, "$push": {"list": number}, "$set": {"text": f"{number:1000}"}}
            )
            for number in range(writes)
        ]
        return len([future.result(60) for future in futures])

    other.pause()
    assert writer.result(writer.begin(write), 60) == writes
    writer.pause()
    host.kill()
    other.resume()
    until(lambda: other.status()["status"] == "host")
    writer.resume()
    writer.result(writer.begin(MemSync.patch, {"$set": {"done": True}}, timeout=60), 60)
    document = cluster.settled([writer, other])
    assert document["n"] == len(document["list"])
    missing = sorted(set(range(writes)) - set(document["list"]))
    told = until(lambda: writer.run(lambda mem: list(mem.told))) if missing else []
    assert bool(missing) == (remembered < writes)
    assert [type(error) for error in told] == [ConflictError] * bool(missing)
    assert all("maxLog" in str(error) for error in told)


def test_a_stop_in_a_signal_handler_that_interrupts_a_write_does_not_hang(
    cluster: Cluster,
) -> None:
    host = cluster.peer({"n": 0}, LASTING)
    program = cluster.script(
        """
        import os, signal, sys, threading
        from memsync import MemSync, MemSyncError
        from memsync.testing import until
        mem = MemSync("obj")
        mem.start()
        has_come = threading.Event()
        def handler(number, frame):
            has_come.set()
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            mem.stop()
            print("stopped", flush=True)
        def interrupt():
            until(lambda: mem.get_status()["pending"] == 1)
            while not has_come.is_set():  # one that comes as a wait of C begins does not end it
                os.kill(os.getpid(), signal.SIGTERM)
                has_come.wait(5)
        signal.signal(signal.SIGTERM, handler)
        print("up", flush=True)
        sys.stdin.readline()
        threading.Thread(target=interrupt).start()
        try:
            mem.patch({"$inc": {"n": 1}}, timeout=3000)
        except MemSyncError as error:
            print(error.outcome, flush=True)
        """
    )
    assert program.stdout is not None
    assert program.stdin is not None
    assert read_line(program) == "up\n"
    host.pause()
    write_line(program, "go")
    out, err = program.communicate(timeout=60)
    host.resume()
    assert (out, program.returncode) == ("stopped\nunknown\n", 0), err


def test_a_write_in_a_signal_handler_either_goes_through_or_is_refused_with_a_reason(
    cluster: Cluster,
) -> None:
    program = cluster.script(
        """
        import os, signal, threading
        from memsync import MemSync, UsageError
        seen = {"ok": 0, "refused": 0}
        with MemSync("obj", {"n": 0, "signals": 0}) as mem:
            def handler(number, frame):
                try:
                    mem.submit({"$inc": {"signals": 1}})
                    seen["ok"] += 1
                except UsageError as error:
                    assert "signal handler" in str(error)
                    seen["refused"] += 1
            signal.signal(signal.SIGUSR1, handler)
            stop = threading.Event()
            def shoot():
                while not stop.wait(0.0005):
                    os.kill(os.getpid(), signal.SIGUSR1)
            thread = threading.Thread(target=shoot)
            thread.start()
            for _ in range(2000):
                mem.submit({"$inc": {"n": 1}})
            stop.set()
            thread.join()
            mem.patch({"$set": {"done": 1}})
            assert mem.data["n"] == 2000, mem.data
            assert mem.data["signals"] == seen["ok"]
            print("fine")
        """
    )
    out, err = program.communicate(timeout=60)
    assert (out, program.returncode) == ("fine\n", 0), err


def test_the_pending_limit_is_the_window_and_a_full_one_blocks(cluster: Cluster) -> None:
    host = cluster.peer({"n": 0}, LASTING)
    client = cluster.peer(options={"network": {"window": 10}})

    def fill(mem: MemSync[Any]) -> Any:
        for _ in range(10):
            mem.submit({"$inc": {"n": 1}})
        return mem.get_status()["pending"]

    host.pause()
    assert client.run(fill) == 10

    def one_more(mem: MemSync[Any]) -> int:
        return mem.submit({"$inc": {"n": 1}}, timeout=10).result(10)

    ticket = client.begin(one_more)
    host.resume()
    client.result(ticket)
    assert cluster.settled() == {"n": 11}
