"""A host that has no memory for a write refuses that write, and nothing else."""

from __future__ import annotations

import resource
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from memsync import MemSync, TooLargeError
from memsync.manager.host import host as host_module
from memsync.manager.transport import channel as channel_module
from memsync.replication import sequencer as sequencer_module
from memsync.replication.kinds.patch import PatchKind
from memsync.testing import Cluster, until

from ..process_helpers import LASTING

pytestmark = pytest.mark.process

LARGE = 8 * 2**20  # bytes: writes above find no memory


def fail_in(module: Any, name: str, size: Callable[..., int]) -> None:
    """Have a function find no memory for what is large."""
    original = getattr(module, name)

    def failing(*args: Any) -> Any:
        if size(*args) > LARGE:
            raise MemoryError
        return original(*args)

    setattr(module, name, failing)


class Small(bytearray):
    """A buffer that cannot grow beyond the limit."""

    def extend(self, more: Any) -> None:
        """As `bytearray.extend`, while there is memory."""
        if len(self) + len(more) > LARGE:
            raise MemoryError
        super().extend(more)


def at_read(mem: MemSync[Any]) -> None:
    vars(channel_module)["bytearray"] = Small


def at_decoding(mem: MemSync[Any]) -> None:
    fail_in(host_module, "parse", len)


def at_compilation(mem: MemSync[Any]) -> None:
    fail_in(PatchKind, "order", lambda kind, state, peer, write: len(str(write.body)))


def at_encoding(mem: MemSync[Any]) -> None:
    fail_in(sequencer_module, "frame", lambda entry: len(str(entry.body)))


def write_large(mem: MemSync[Any]) -> str:
    """What a write of 12 MB leads to, in the middle of small ones."""
    before = mem.submit({"$inc": {"n": 1}})
    large = mem.submit({"$set": {"text": "x" * (LARGE + LARGE // 2)}})
    after = [mem.submit({"$inc": {"n": 1}}) for _ in range(3)]
    for future in [before, *after]:
        future.result(60)
    with pytest.raises(TooLargeError) as caught:
        large.result(60)
    assert "text" not in mem.data
    return str(caught.value)


@pytest.mark.parametrize("place", [at_read, at_decoding, at_compilation, at_encoding])
def test_a_write_for_which_the_host_has_no_memory_is_refused_once(
    cluster: Cluster, place: Callable[[MemSync[Any]], None]
) -> None:
    host, client, _ = cluster.start(3, {"n": 0}, LASTING)
    peer = client.run(lambda mem: mem.id)
    host.run(place)
    for round_ in range(1, 3):
        assert "no memory" in client.result(client.begin(write_large), 60)
        assert cluster.settled() == {"n": 4 * round_}
    assert cluster.host() is host
    assert client.run(lambda mem: mem.id) == peer
    host.kill()
    client.run(lambda mem: mem.patch({"$inc": {"n": 1}}, timeout=10))
    assert cluster.settled() == {"n": 9}


MEBIBYTE = 2**20


def have_free(mem: MemSync[Any], size: int) -> None:
    """Limit the address space of this process to what it has by now, and so many bytes."""
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + size, resource.RLIM_INFINITY))


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs the size of a process")
@pytest.mark.parametrize("free", [20, 60, 110, 160, 210])
@pytest.mark.parametrize("own", [True, False], ids=["own write", "write of another"])
def test_a_host_near_its_limit_of_memory_does_not_crash(
    cluster: Cluster, own: bool, free: int
) -> None:
    """A host needs several times 50 MB for it, and finds none at one place or another."""

    def write(mem: MemSync[Any]) -> str:
        try:
            mem.patch({"$set": {"text": "x" * (50 * 10**6)}}, timeout=50)
        except (MemoryError, TooLargeError) as error:
            return type(error).__name__
        return ""

    peers = host, client, third = cluster.start(3, {"n": 0})
    host.run(have_free, free * MEBIBYTE)
    writer = host if own else client
    outcome = writer.result(writer.begin(write), 60)
    for peer in peers:
        assert peer.alive
        peer.run(lambda mem: mem.patch({"$inc": {"n": 1}}, timeout=15))
    for peer in (client, third):
        until(lambda peer=peer: peer.snapshot("n") == 3)  # type: ignore[misc]
        assert peer.run(lambda mem: "text" in mem.data) is not bool(outcome)


@pytest.mark.parametrize("place", [at_compilation, at_encoding])
def test_an_own_write_for_which_the_host_has_no_memory_is_refused(
    cluster: Cluster, place: Callable[[MemSync[Any]], None]
) -> None:
    host, _ = cluster.start(2, {"n": 0})
    host.run(place)
    assert "no memory" in host.result(host.begin(write_large), 60)
    assert cluster.settled() == {"n": 4}
