"""How a candidate gathers the best state there is, before it opens (see `replication.recovery`).

Each peer that lived when the lock was taken and may hold something reports by attaching, after it
fenced its old link; the candidate waits until all have, or are dead, or the time is over.
"""

from __future__ import annotations

import logging
from collections import Counter, deque
from typing import TYPE_CHECKING, Any

from ..errors import HostUnresponsiveError, ProtocolError
from ..replication.codec import HEADER, frame
from ..replication.entries import Entry, SnapshotPart
from ..replication.membership import member_in_file
from ..replication.recovery import Recovery
from .channel import Channel, ChannelLost
from .host import Host
from .machine import Life, Pause, Readable
from .messages import Fetch, Hello, Source, parse
from .seat import Deposed

if TYPE_CHECKING:
    from .node import Node

log = logging.getLogger("memsync.election")

_PAUSE = 0.005  # seconds between two looks for dead peers
_MENDING_PAUSE = 0.1  # seconds between two looks for deleted files
_FOUNDING_PATIENCE = 0.25  # seconds for survivors to make their deleted files again
_LONGEST_LOOK = 0.05  # seconds; a candidate that was away for longer did not wait for anybody
_BREAKS = 4  # times that a source is waited for anew, because it broke off
_FETCH_PATIENCE = 5.0  # seconds without a byte after which a source is given up


class Gathering:
    """A candidate's recovery: reports in, the best state fetched."""

    def __init__(self, node: Node, host: Host, reported: dict[str, tuple[Channel, Hello]]) -> None:
        self.reported = reported
        self._node = node
        self._host = host
        self._machine = node.machine
        peers = node.folder.living_peers()
        peers.pop(node.id, None)
        self._pids = {peer: content.get("pid") for peer, content in peers.items()}
        self.living = {*peers, node.id}
        # A peer whose file says epoch 0 has never asked to be attached, so it holds nothing.
        holders = {peer for peer, content in peers.items() if content.get("epoch") != 0}
        # Nor may a member be passed over whose file somebody has deleted.
        members = [peer for peer in node.state.members if peer not in self.living]
        holders |= {peer for peer in members if node.folder.is_alive(peer) is None}
        self._recovery = Recovery(node.id, node.replica.pair, holders, node.replica.network)
        self._patience = node.options.network.recovery  # seconds left to wait for the silent
        self._next_mending = self._machine.monotonic() + _MENDING_PAUSE
        self._broke_off: Counter[str] = Counter()  # sources that were given time to come again
        self._was_waited_for = node.leaves_gap
        # There was a host before, so there may be survivors, whose files somebody has deleted.
        is_newcomer = not holders and not node.state.version and node.replica.pair == (0, 0)
        may_be_survivors = is_newcomer and node.folder.opened().epoch > 0
        # So there may where the object was founded twice, for all files had been deleted then.
        # They may be about to reach a host that hangs, for half of what a recovery waits.
        self._founding_patience = _FOUNDING_PATIENCE if may_be_survivors else 0.0
        if node.leaves_gap:
            self._founding_patience = self._patience

    def run(self) -> Life[None]:
        """Gather the reports, then bring this peer level with the best; a new object is founded.

        Raises `Deposed` when somebody else has taken the next epoch meanwhile, or the number may
        have been used before.
        """
        yield from self._collect()
        while True:
            self._leave_gap_if_needed()  # before anything of another network is shown
            peer, pair = self._recovery.best()
            if self._may_be_behind(pair):
                self._founding_patience = self._node.options.network.recovery
                yield from self._collect()
                continue
            if peer == self._node.id:
                break
            if (yield from self._fetch(peer)):
                self._recovery.advanced(self._node.replica.pair, self._node.replica.network)
            else:
                self._forget(peer)
                yield from self._collect()
        self._settle_silent(pair)

    def _may_be_behind(self, pair: tuple[int, int]) -> bool:
        """Whether survivors of a later reign than that of the best pair are to be waited for, once.

        Who was in it may be about to make its peer file again, so that nobody knows of it yet.
        """
        was_waited_for, self._was_waited_for = self._was_waited_for, True
        return not was_waited_for and 0 < pair[0] < self._node.folder.opened().epoch

    def _leave_gap_if_needed(self) -> None:
        """Give up a number that follows those of another network than the object that counts.

        That network may have had the number already, and only somebody who is silent may know.
        """
        networks = self._recovery.networks
        if not networks or self._node.leaves_gap:
            return
        if networks != {self._node.folder.opened().network}:
            self._node.leaves_gap = True
            raise Deposed

    def _settle_silent(self, pair: tuple[int, int]) -> None:
        silent = self._recovery.silent
        # Who lives makes a deleted file again, so who has none by now has left.
        alive = sorted(peer for peer in silent if self._node.folder.is_alive(peer))
        holds_nothing = pair == (0, 0) and not self._node.state.version
        if alive and holds_nothing:
            names = ", ".join(f"{peer} (process {self._pids.get(peer)})" for peer in alive)
            raise HostUnresponsiveError(
                f"the object {self._node.name!r} is held by {names}, which does not answer; "
                "continue or end that process, then start again",
                pid=self._pids.get(alive[0]),
            )
        if silent:
            missing = ",".join(f"{peer}:{self._pids.get(peer)}" for peer in sorted(silent))
            log.warning("opening without all reports %s missing=%s", self._node, missing)
        if holds_nothing:
            self._node.found()
        elif self._node.state.torn:
            log.warning("no other peer holds the object: going on with an interrupted copy")
            self._node.replica.accept_torn()

    def _collect(self) -> Life[None]:
        """Take reports until nobody is missing, or the time is over.

        Time in which this process was frozen does not count: nobody could have reported.
        """
        looked_at = self._machine.monotonic()
        while True:
            self._check()
            while self._host.arrivals:
                channel, hello = self._host.arrivals.popleft()
                self._replace(hello.peer, channel, hello)
            for peer in self._recovery.silent:
                if self._node.folder.is_alive(peer) is False:
                    self._recovery.lost(peer)
                    self.living.discard(peer)
            now = self._machine.monotonic()
            awake, looked_at = min(now - looked_at, _LONGEST_LOOK), now
            if self._founding_patience > 0:
                self._founding_patience -= awake
                self._expect_survivors()
            elif not self._recovery.silent or self._patience <= 0:
                return
            else:
                self._patience -= awake
            yield Pause(self._node.waker, _PAUSE)

    def unheard(self) -> dict[str, dict[str, Any]]:
        """The living that were not heard: they may be members of which this peer does not know."""
        silent = self._recovery.silent
        living = self._node.folder.living_peers() if silent else {}
        return {
            peer: member_in_file(peer, content)
            for peer, content in living.items()
            if peer in silent and peer not in self._node.state.members
        }

    def _expect_survivors(self) -> None:
        for peer, content in self._node.folder.living_peers().items():
            is_known = peer == self._node.id or peer in self.reported
            if content.get("epoch") != 0 and not is_known:
                self._pids[peer] = content.get("pid")
                self.living.add(peer)
                self._recovery.expect(peer)

    def _check(self) -> None:
        """Go on living, if it is for this peer to go on."""
        self._node.check_stop()
        now = self._machine.monotonic()
        self._host.seat.beat(now)
        if now >= self._next_mending:
            self._next_mending = now + _MENDING_PAUSE
            self._host.seat.look()  # where a gap was left, there may be two candidates at once
            self._host.seat.mend()
        if self._host.seat.is_lost():
            raise Deposed

    def _replace(self, peer: str, channel: Channel, hello: Hello) -> None:
        old = self.reported.pop(peer, None)
        if old is not None:
            old[0].close()
        self.reported[peer] = (channel, hello)
        self.living.add(peer)
        self._pids[peer] = hello.pid
        self._recovery.report(peer, (hello.epoch, hello.version), hello.network)

    def _forget(self, peer: str) -> None:
        channel, _ = self.reported.pop(peer)
        channel.close()
        if self._node.folder.is_alive(peer) is not False:
            self._recovery.expect(peer)
            self._broke_off[peer] += 1
            if self._broke_off[peer] <= _BREAKS:
                self._patience = self._node.options.network.recovery
        else:
            self._recovery.lost(peer)
            self.living.discard(peer)

    def _fetch(self, peer: str) -> Life[bool]:
        """Take over what a peer holds beyond us; False when it broke off."""
        if self._machine.misbehaves("a source breaks off"):
            return False
        channel, hello = self.reported[peer]
        replica = self._node.replica
        epoch, version = replica.pair if replica.network == hello.network else (0, 0)
        try:
            channel.queue(frame(Fetch(epoch, version)))
            yield from self._take(channel, hello.network)
            return True
        except (ChannelLost, ProtocolError) as error:
            log.warning("peer %s could not hand over its state: %s", peer, error)
            return False

    def _take(self, channel: Channel, network: str) -> Life[None]:
        arrived: deque[tuple[object, int]] = deque()
        yield from self._wait_for_more(channel, arrived)
        source = arrived.popleft()[0]
        if not isinstance(source, Source):
            raise ProtocolError(f"Source was expected, not {type(source).__name__}")
        node = self._node
        entries: list[Entry] = []
        wanted = network, (source.epoch, source.version)
        while (node.replica.network, node.replica.pair) != wanted:
            if not arrived:
                yield from self._wait_for_more(channel, arrived)
            message, size = arrived.popleft()
            if isinstance(message, Entry):
                node.take_entry(message, size)
                entries.append(message)
            elif isinstance(message, SnapshotPart):
                node.replica.take_part(message)
            else:
                raise ProtocolError(f"a source does not send {type(message).__name__}")
        node.settle(entries)

    def _wait_for_more(self, channel: Channel, arrived: deque[tuple[object, int]]) -> Life[None]:
        """Add at least one message that comes in, and its size on the wire."""
        patience = self._machine.monotonic() + _FETCH_PATIENCE
        while not arrived:
            left = patience - self._machine.monotonic()
            if left <= 0:
                raise ChannelLost("nothing came for too long")
            self._check()
            channel.flush()
            if (yield Readable(channel, min(left, 0.5))):
                patience = self._machine.monotonic() + _FETCH_PATIENCE
                arrived.extend((parse(b), len(b) + HEADER) for b in channel.receive())
