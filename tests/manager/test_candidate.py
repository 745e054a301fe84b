"""What a candidate has opened is closed, whatever goes wrong on its way to the role of host."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from memsync.errors import MaxWritersError, RendezvousError
from memsync.manager.context import PeerContext
from memsync.manager.election.candidate import Candidate
from memsync.manager.election.recovery import Recovery
from memsync.manager.folder.folder import ObjectFolder
from memsync.manager.folder.records import Address
from memsync.manager.host.claim import Deposed
from memsync.manager.host.host import Host
from memsync.manager.platform.task import Task, run_task
from memsync.manager.states import PeerEvent, PeerState
from memsync.manager.transport.channel import Channel
from memsync.manager.transport.server import MemSyncServer, ServerConfig

from ..process.raw_client import hello
from .builders import new_context


@pytest.fixture
def ctx(folder: Path) -> Iterator[PeerContext]:
    """A peer that may host the first epoch."""
    with new_context(folder) as made:
        made.states.on(PeerEvent.MAY_HOST)
        yield made


def check_nothing_is_left(ctx: PeerContext) -> None:
    """No socket and no held lock of the epoch (the threads are the business of every test)."""
    folder = ctx.place.folder
    assert list(folder.path.glob("*.sock")) == []
    lock = folder.path / "epoch-1.lock"
    assert not lock.exists() or not folder.is_held(lock)


def test_a_candidate_that_somebody_was_faster_than_closes_its_socket(ctx: PeerContext) -> None:
    lock = ctx.place.folder.publish_lock(1, "faster", 7, "/x")
    assert lock is not None
    assert run_task(Candidate(ctx, 1, None).campaign()) is None
    assert ctx.states.current is PeerState.SEARCHING
    lock.close()
    check_nothing_is_left(ctx)


def test_an_error_at_the_lock_closes_the_socket(
    ctx: PeerContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        assert list(ctx.place.folder.path.glob("*.sock"))
        raise RendezvousError("the disk is full")

    monkeypatch.setattr(ObjectFolder, "publish_lock", fail)
    with pytest.raises(RendezvousError, match="the disk is full"):
        run_task(Candidate(ctx, 1, None).campaign())
    assert ctx.states.current is PeerState.CAMPAIGNING
    check_nothing_is_left(ctx)


def test_a_candidate_that_is_deposed_closes_its_lock_its_socket_and_who_has_reported(
    ctx: PeerContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    ends = [socket.socketpair() for _ in range(2)]
    serve, configs = ctx.platform.serve, []

    def noted(address: Address, authkey: bytes, config: ServerConfig) -> MemSyncServer:
        configs.append(config)
        return serve(address, authkey, config)

    def deposed(recovery: Recovery) -> Task[None]:
        lock = ctx.place.folder.path / "epoch-1.lock"
        assert ctx.place.folder.is_held(lock)
        recovery._reported["reported"] = Channel(ends[0][0]), hello("reported")
        configs[0].attach(Channel(ends[1][0]), hello("joining"))
        raise Deposed
        yield

    monkeypatch.setattr(ctx.platform, "serve", noted)
    monkeypatch.setattr(Recovery, "run", deposed)
    assert run_task(Candidate(ctx, 1, None).campaign()) is None
    assert ctx.states.current is PeerState.SEARCHING
    check_nothing_is_left(ctx)
    for _, theirs in ends:
        assert theirs.recv(1) == b""
        theirs.close()


def test_a_host_that_cannot_open_lets_everything_go(
    ctx: PeerContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise MaxWritersError("no place for a writer")

    monkeypatch.setattr(Host, "open", full)
    with pytest.raises(MaxWritersError, match="no place"):
        run_task(Candidate(ctx, 1, None).campaign())
    check_nothing_is_left(ctx)


def test_a_candidate_without_anybody_else_founds_the_object_and_hosts(ctx: PeerContext) -> None:
    host = run_task(Candidate(ctx, 1, None).campaign())
    assert host is not None
    try:
        assert ctx.states.current is PeerState.HOSTING
        assert ctx.participant.state.host == ctx.id
        assert ctx.participant.state.document == {"n": 0}
        assert ctx.place.folder.is_held(ctx.place.folder.path / "epoch-1.lock")
    finally:
        host.release()
        host.claim.close()
    check_nothing_is_left(ctx)
