"""Failures that the simulation found in one seed of thousands, as scripts."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from typing import Any, cast

import pytest

from memsync.manager.election import recovery
from memsync.manager.host.admission import Admission
from memsync.manager.host.fanout import FanOut
from memsync.manager.host.host import Host
from memsync.replication.kinds.lock import LockKind, acquiring
from memsync.replication.kinds.presence import present
from memsync.replication.lock_part import lock_facts
from memsync.replication.state import TornCopyError
from memsync.runtime.call import Call
from memsync.runtime.futures import WriteFuture
from memsync.runtime.lock_request import LockRequest
from memsync.runtime.lock_requests import requests_of

from . import workload
from .lock_users import Dispatcher
from .process import DRIVER, MAIN, Process
from .run import Run

PATIENCE = 30.0  # seconds of virtual time
SMALL = 300  # bytes that a pipe takes: a frozen peer soon lags


class Scenario:
    """A group in which only the faults that the test causes happen."""

    def __init__(self, group: str) -> None:
        self.run = Run(1, faults=[], points=[], kinds=["inc"], capacity=SMALL, strict=False)
        self.run.history.writer_limit = None
        self.run._group = group
        self.world = self.run.world
        self._number = 0

    def join(self) -> Process:
        """One more peer, which is up."""
        self.run.join("")
        newcomer = self.world.processes[-1]
        self.until(lambda: newcomer.is_up)
        return newcomer

    def write(self, process: Process, times: int) -> None:
        """Have a user of a process increment the counter."""
        for _ in range(times):
            self._number += 1
            workload.write(process, self.world.streams["users"], self._number, ["inc"])
            self.wait(0.01)

    def wait(self, seconds: float) -> None:
        """Let time pass."""
        self.world.run(self.world.now + seconds)

    def until(self, done: Callable[[], bool]) -> None:
        """Let time pass until a condition is true."""
        self.world.run(self.world.now + PATIENCE, done)
        assert done()

    def outcomes(self, process: Process) -> list[str]:
        """The outcomes of the writes of a process."""
        return [write.outcome for write in self.run.history.writes if write.who == process.name]

    def quiet(self) -> dict[str, Any]:
        """The object once all peers are at one version."""
        self.until(lambda: self.run._is_quiet() and not any(p.frozen for p in self.run._up()))
        documents = [process.participant.state.document for process in self.run._up()]
        assert all(document == documents[0] for document in documents)
        found: dict[str, Any] = documents[0]
        return found


Stage = Callable[..., Scenario]


@pytest.fixture
def stage(caplog: pytest.LogCaptureFixture) -> Iterator[Stage]:
    """Makes scenarios, and unwinds what is left of their processes."""
    caplog.set_level(logging.CRITICAL + 1, "memsync")  # what is left of a task complains
    made: list[Scenario] = []

    def make(group: str = "") -> Scenario:
        made.append(Scenario(group))
        return made[-1]

    yield make
    for scenario in made:
        for process in scenario.world.processes:
            process.bury()


def behind(stage: Stage, away: float) -> tuple[Scenario, Process, Process]:
    """A killed host, a client that lags, and a client with every entry, frozen for some seconds."""
    scene = stage("maxLog=1")
    host, late, writer = scene.join(), scene.join(), scene.join()
    assert host.hosts
    late.freeze(1.0)
    scene.write(writer, 20)
    assert set(scene.outcomes(writer)) == {"ok"}
    scene.wait(0.5)
    writer.freeze(away)
    host.kill()
    scene.until(lambda: late.is_candidate)
    return scene, late, writer


def test_a_candidate_does_not_count_the_time_in_which_it_was_frozen(stage: Stage) -> None:
    """It woke up, its patience was over, and it opened without the peers that tried to report."""
    scene, late, writer = behind(stage, 2.4)
    late.freeze(2.0)
    scene.until(lambda: late.hosts)
    assert not writer.frozen
    assert scene.quiet()["n"] == 20


def test_a_source_that_breaks_off_may_come_again(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There was no patience left, so the candidate opened without the best state."""
    fetch = recovery.Recovery._fetch
    broken: list[str] = []

    def breaks_off(self: Any, peer: str) -> Any:
        if broken:
            return (yield from fetch(self, peer))
        broken.append(peer)
        self._patience = 0.0
        return False

    monkeypatch.setattr(recovery.Recovery, "_fetch", breaks_off)
    scene, late, writer = behind(stage, 0.6)
    scene.until(lambda: late.hosts)
    assert broken == [writer.participant.id]
    assert scene.quiet()["n"] == 20


def test_a_peer_of_a_later_epoch_is_waited_for_although_its_file_was_deleted(
    stage: Stage,
) -> None:
    """A candidate had the best state that it knew of, and the lock recorded a later epoch."""
    scene = stage()
    first, late, second = scene.join(), scene.join(), scene.join()
    late.freeze(1.9)
    first.kill()
    scene.until(lambda: second.hosts)
    third = scene.join()
    scene.write(second, 5)
    assert scene.outcomes(second) == ["ok"] * 5
    third.freeze(1.2)
    second.kill()
    scene.world.disk.files.pop(f"/sim/obj.d/peer-{third.participant.id}.json")
    newcomer = scene.join()
    assert newcomer.hosts
    assert not late.frozen
    assert scene.quiet()["n"] == 5


@pytest.mark.parametrize("later", [0.0, 0.0001, 0.0002, 0.0005, 0.001, 0.002])
def test_peers_that_stop_together_do_not_wait_for_each_other(stage: Stage, later: float) -> None:
    """A host waited a third of a second for each peer that was asked and was leaving as well."""
    scene = stage()
    *leaving, writer = [scene.join() for _ in range(5)]
    scene.write(writer, 3)
    began = scene.world.now
    for process in leaving:
        process.stop()
        scene.wait(later)
    scene.until(lambda: writer.hosts)
    assert scene.world.now - began < 0.1
    assert scene.quiet()["n"] == 3
    assert list(writer.participant.state.members) == [writer.participant.id]


def state_presence(process: Process) -> None:
    """Have a process state a field about itself."""
    call = Call(deadline=process.driver.platform.monotonic() + 9, kind="presence")
    process.participant.writer.submit({"at": 1}, call, WriteFuture(lambda run, done: run(done)))


def test_a_peer_stays_dead_when_the_host_that_took_it_out_dies_as_well(stage: Stage) -> None:
    """The dead peer's file had been removed, so the third host took it for one that may live."""
    scene = stage()
    first, dead, second, third = [scene.join() for _ in range(4)]
    state_presence(dead)
    scene.until(lambda: bool(present(third.participant.state)))
    third.freeze(2.0)
    dead.kill()
    first.kill()
    scene.until(lambda: second.hosts)
    scene.wait(0.1)
    second.kill()
    scene.until(lambda: third.hosts)
    assert list(third.participant.state.members) == [third.participant.id]
    assert present(third.participant.state) == {}


def test_a_newcomer_that_is_the_next_host_sends_the_others_what_they_lack(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its log began at its snapshot, so they got a snapshot too, and missed the events before."""
    scene = stage()
    host, other, writer = scene.join(), scene.join(), scene.join()
    scene.write(writer, 1)
    scene.quiet()
    monkeypatch.setattr(FanOut, "next_push", float("inf"))  # only the writer gets its entries
    scene.write(writer, 5)
    assert set(scene.outcomes(writer)) == {"ok"}
    newcomer = scene.join()
    assert other.participant.state.version < newcomer.participant.state.version
    snapshots = other.participant.state.snapshots
    host.kill()
    writer.kill()
    monkeypatch.undo()
    assert scene.quiet()["n"] == 6
    assert newcomer.hosts or other.hosts
    assert other.participant.state.snapshots == snapshots


def test_a_host_that_cannot_hand_over_has_left_at_once(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It had removed its file, so the next host took it for one that may live."""
    scene = stage()
    host, other = scene.join(), scene.join()

    def is_torn(self: Host) -> Any:
        raise TornCopyError("an interrupt came in a bad moment")
        yield

    monkeypatch.setattr(Host, "_flush_clients", is_torn)
    host.stop()
    scene.until(lambda: other.hosts)
    assert list(other.participant.state.members) == [other.participant.id]


def test_a_host_that_ends_the_connection_is_asked_less_and_less_often(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The peer woke itself when it left the connection, so it asked 1,400 times a second."""
    asked: list[str] = []

    def attach(self: Admission, channel: Any, hello: Any) -> None:
        asked.append(hello.peer)
        channel.close()

    scene = stage()
    scene.join()
    monkeypatch.setattr(Admission, "attach", attach)
    scene.run.join("")
    scene.wait(2.0)
    assert 5 <= len(asked) <= 30
    monkeypatch.undo()
    newcomer = scene.world.processes[-1]
    scene.until(lambda: newcomer.is_up)


def ask_for_lock(process: Process) -> LockRequest:
    """Have a process ask for a lock."""
    participant, dispatcher = process.participant, Dispatcher(process)
    request = requests_of(participant).prepare("mutex", None, cast(Any, dispatcher))
    requests_of(request.participant)._open[request.number] = request
    call = Call(deadline=process.driver.platform.monotonic() + 9, kind=LockKind.name)
    future = WriteFuture(lambda run, done: run(done))
    participant.writer.submit(acquiring(request.wish), call, future)
    return request


def test_a_release_that_was_lost_with_its_host_is_made_again(stage: Stage) -> None:
    """The lock stayed with a peer that had given it back, as long as that peer lived."""
    scene = stage("maxLog=1 lease=0.2")
    host, other, third = [scene.join() for _ in range(3)]
    request = ask_for_lock(host)
    scene.until(lambda: request.token is not None and bool(lock_facts(third.participant.state)))
    for sock in host.sockets:
        scene.run.hold(sock.outbound)
    scene.write(host, 20)  # what follows finds no room in the pipes
    requests_of(request.participant).give_up(request)
    scene.until(lambda: not lock_facts(host.participant.state))
    assert lock_facts(other.participant.state)
    scene.write(host, 5)  # the host remembers one of its accepted writes
    host.freeze(3.0)
    scene.until(lambda: other.hosts or third.hosts)
    scene.quiet()
    assert [lock_facts(each.participant.state) for each in (host, other, third)] == [{}] * 3


def test_a_release_that_its_peer_has_forgotten_is_made_again(stage: Stage) -> None:
    """It was acknowledged, the next host lacked it, and the lock stayed with a peer that lived."""
    scene = stage("maxLog=1")
    host, late, holder = scene.join(), scene.join(), scene.join()
    request = ask_for_lock(holder)
    scene.until(lambda: request.token is not None and bool(lock_facts(late.participant.state)))
    late.freeze(1.0)
    scene.write(holder, 20)  # what follows finds no room in the pipe
    requests_of(holder.participant).give_up(request)
    scene.until(lambda: holder.participant.writer.pending == 0)
    assert not lock_facts(holder.participant.state)
    scene.write(holder, 5)  # the holder remembers one of its accepted writes
    assert set(scene.outcomes(holder)) == {"ok"}
    holder.freeze(5.0)
    host.kill()
    scene.until(lambda: late.hosts)
    assert lock_facts(late.participant.state)
    kept = ask_for_lock(late)
    scene.until(lambda: kept.token is not None)
    scene.quiet()
    holders = [
        [(each["id"], each["token"]) for each in facts["holders"]]
        for facts in lock_facts(holder.participant.state).values()
    ]
    assert holders == [[(late.participant.id, kept.token)]]


def test_a_reader_that_is_late_after_a_fence_handles_nothing(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A thread that had the answer to its write did not run while its peer changed the host."""
    scene = stage()
    host, client = scene.join(), scene.join()
    handled: list[object] = []

    def is_late() -> None:
        is_reading = any(sock.in_hand for sock in client.sockets)
        if client.task_id in (DRIVER, MAIN) or not is_reading or not host.alive:
            return
        host.kill()
        client.let_others_run(8.0)
        assert client.hosts
        apply_all = client.participant.apply_all

        def noted(*arguments: Any) -> None:
            handled.append(arguments)
            apply_all(*arguments)

        monkeypatch.setattr(client.participant, "apply_all", noted)

    monkeypatch.setattr(client, "preempt", is_late)
    scene.run.write_and_wait(client, -1, None)
    scene.until(lambda: not client.waiting_users)
    assert not host.alive
    assert handled == []
    assert scene.outcomes(client) == ["ok"]


def test_no_interrupt_leaves_the_guard_held(stage: Stage) -> None:
    """A trace can raise at a `try` in a `with` block, which then does not end."""
    scene = stage()
    peer = scene.join()
    participant = peer.participant
    guard: Any = participant.guard

    def show() -> Iterator[Any]:
        participant.replica.must_rebuild = True
        participant.publish([])
        yield from ()

    fired, lines = scene.world.fired, 0
    while fired["an interrupt"] == lines:  # until it ends before its interrupt
        peer.spawn(cast(Any, show()), lambda error: None, lines)
        assert not guard._is_owned(), f"after {lines} lines"
        lines += 1
    assert lines > 50
