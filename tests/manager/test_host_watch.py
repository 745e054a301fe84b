"""A client's checks of its host: what a heartbeat proves, and how often one is looked for."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from memsync.manager.client.host_watch import HostWatch
from memsync.manager.folder.records import EpochRecord

from .builders import new_context

BEAT = 750_000_000  # nanoseconds between two heartbeats


class Stream:
    """What the watch does with the stream to the host."""

    def __init__(self) -> None:
        self.reason: str | None = None
        self.sent: list[bytes] = []

    def lose(self, reason: str) -> None:
        self.reason = self.reason or reason

    def send(self, frames: list[bytes]) -> None:
        self.sent += frames


class Host:
    """A lock that this process holds, and the watch of a client over it."""

    def __init__(self, watch: HostWatch, stream: Stream, lock: Any) -> None:
        self.watch = watch
        self.stream = stream
        self.lock = lock
        self.now = 0.0
        self.is_alive = True
        self._beats = 10**18

    def beat(self) -> None:
        self._beats += BEAT
        self.lock.heartbeat(self._beats)

    def die(self) -> None:
        self.is_alive = False
        self.lock.close()

    def check(self, after: float = 1.0) -> None:
        self.now += after
        self.watch.check(self.now)


@pytest.fixture
def host(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Host]:
    with new_context(folder) as ctx:
        ctx.repair()
        lock = ctx.place.folder.publish_lock(1, "ab", 7, "/x")
        assert lock is not None
        stream: Any = Stream()
        record = EpochRecord(1, True, "ab", 7, "/x", 0)
        host = Host(HostWatch(ctx, record, stream), stream, lock)
        monkeypatch.setattr(ctx.platform, "monotonic", lambda: host.now)
        for _ in range(5):  # until the stamps of the folder are settled
            host.beat()
            host.check()
        assert stream.reason is None
        yield host
        if host.is_alive:
            host.die()
        ctx.unwatch()


def test_a_host_that_died_after_a_heartbeat_is_missed_one_check_later(host: Host) -> None:
    host.beat()
    host.die()
    host.check()
    host.check()
    assert host.stream.reason == "the host's lock is free, or a newer one exists"


def test_a_missing_heartbeat_is_looked_for_more_often_until_the_next_one(host: Host) -> None:
    assert host.watch.rhythm == 1.0
    host.check()
    assert host.watch.rhythm == 0.75
    host.beat()
    host.check(0.75)
    assert host.watch.rhythm == 1.0


def test_a_host_that_hangs_is_pinged_after_a_lease_and_lost_without_an_answer(host: Host) -> None:
    for _ in range(4):
        assert not host.stream.sent
        host.check(host.watch.rhythm)
    assert host.stream.sent
    assert host.stream.reason is None
    host.check(host.watch.rhythm)
    assert host.stream.reason == "the host hangs"
