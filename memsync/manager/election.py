"""How a peer finds its role: it joins the host that reigns, or becomes host itself.

The highest lock file in the folder decides. Held: its holder is host, or about to be, and is
joined. Free or missing: its number is used up, and whoever links the next one is the candidate; the
others find that lock held and join the candidate. A joiner publishes its peer file first and reads
the highest lock then, a candidate takes its lock first and lists the peers then: one sees the
other.

Before it opens, a candidate gathers the best state there is (see `replication.recovery`). Each peer
that lived when the lock was taken and may hold something reports by attaching, after it fenced its
old link; the candidate waits until all have, or are dead, or the time is over.
"""

from __future__ import annotations

import logging
from collections import Counter, deque
from typing import TYPE_CHECKING, Any

from ..errors import (
    AuthenticationFailedError,
    HostUnresponsiveError,
    MemSyncError,
    ProtocolError,
    RendezvousError,
)
from ..replication.membership import Members, member_in_file
from ..replication.messages import (
    HEADER,
    Entry,
    Fetch,
    Grant,
    Hello,
    SnapshotPart,
    Source,
    frame,
    parse,
)
from ..replication.recovery import Recovery
from . import relief
from .channel import Channel, ChannelLost
from .folder import Address, Reign
from .host import Host
from .link import Link
from .machine import Dial, Life, Pause, Readable
from .seat import Deposed, Seat
from .server import MemSyncServer, Serving
from .shortage import share_of_descriptors, way_out

if TYPE_CHECKING:
    from .node import Node

log = logging.getLogger("memsync.election")

_FIRST_PAUSE = 0.0005  # seconds; a killed host's lock is freed an instant after its sockets
_LONGEST_PAUSE = 0.1
_DIAL_TIMEOUT = 5.0  # seconds for one attempt to connect and authenticate, at most
_PRECEDENCE = 0.1  # seconds that others leave to a dedicated host, which takes milliseconds
_GATHER_PAUSE = 0.005  # seconds between two looks for dead peers
_FOUNDING_PATIENCE = 0.25  # seconds for survivors to make their deleted files again
_LONGEST_LOOK = 0.05  # seconds; a candidate that was away for longer did not wait for anybody
_BREAKS = 4  # times that a source is waited for anew, because it broke off
_FETCH_PATIENCE = 5.0  # seconds without a byte after which a source is given up


def find_role(node: Node, deadline: float) -> Life[Host | Link]:
    """Become client or host.

    Raises `HostUnresponsiveError` when that took until `deadline` (monotonic seconds), and the
    errors of the folder, the protocol and the group's limits.
    """
    pause = _FIRST_PAUSE
    precedence = _Precedence(node)
    while True:
        node.check_stop()
        node.mend()
        reign = node.folder.reign()
        last = reign.epoch if reign is not None else 0
        role: Host | Link | None = None
        if reign is not None and reign.held:
            grant = _grant(node, reign)
            if grant is not None:
                role = yield from _stand(node, last + 1, last, grant)
            elif not node.host_hangs(reign.epoch):
                if not reign.is_damaged:
                    role = yield from _join(node, reign, deadline)
            elif _may_depose(node):
                peers = node.folder.living_peers()
                if not node.folder.is_over(last) and precedence.is_own(peers):
                    found = "the host hangs %s host=%s host_pid=%s"
                    log.warning(found, node, reign.peer, reign.pid)
                    role = yield from _stand(node, _next_epoch(node, last, peers), last)
        elif not node.options.client_only:
            peers = node.folder.living_peers()
            # They tell of epochs that were taken since the locks were read: not to be passed over.
            if not node.folder.is_over(last) and precedence.is_own(peers):
                role = yield from _stand(node, _next_epoch(node, last, peers), last)
        if role is not None:
            return role
        if node.machine.monotonic() > deadline:
            raise _nobody_answers(node)
        if pause == _LONGEST_PAUSE:
            node.say_obstacle(_obstacle(node, reign))
        yield Pause(node.waker, pause)
        pause = min(pause * 2, _LONGEST_PAUSE)


def _next_epoch(node: Node, last: int, peers: Members) -> int:
    """The number after all that were used, as far as locks or peers know: locks may be deleted.

    With their witnesses gone as well there may have been later ones of which nobody here knows, as
    when two networks meet: a gap at random is left, so that none is used twice.
    """
    known: int = max([node.state.epoch, *(peer.get("epoch", 0) for peer in peers.values())])
    if last < known or node.leaves_gap:
        return max(last, known) + 1 + int(node.machine.new_id()[:4], 16)
    return last + 1


class _Precedence:
    """Who goes first in an election: a dedicated host, for as long as it may take to do so."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._own_from: float | None = None  # monotonic seconds

    def is_own(self, peers: Members) -> bool:
        """Whether this peer may stand now, beside the living ones."""
        node = self._node
        if node.options.server_only:
            return True
        if not any(content.get("serverOnly") for content in peers.values()):
            return True
        now = node.machine.monotonic()
        if self._own_from is None:
            self._own_from = now + _PRECEDENCE
        return now >= self._own_from


def _grant(node: Node, reign: Reign) -> Grant | None:
    """What lets this peer take the next epoch from the host of this one, if it has all there is."""
    grant, node.granted = node.granted, None
    if grant is None or grant.epoch != reign.epoch + 1 or node.state.host != reign.peer:
        return None  # the number may be one of another network
    return grant if node.replica.pair == (reign.epoch, grant.version) else None


def _may_depose(node: Node) -> bool:
    """Whether this peer may replace a host that merely hangs: it must have been in its epoch.

    Otherwise it could be this peer that was away, and an old state that it would go on with.
    """
    epoch, _ = node.replica.pair
    return not node.options.client_only and 0 < epoch >= node.folder.opened().epoch


def _join(node: Node, reign: Reign, deadline: float) -> Life[Link | None]:
    """Attach to whoever holds the lock; None when that broke off and is to be tried again."""
    node.state_epoch_in_file(max(reign.epoch, node.state.epoch, 1))
    timeout = min(_dial_timeout(node), max(deadline - node.machine.monotonic(), 0.01))
    link = None
    try:
        channel = yield Dial(reign.address, node.authkey, frame(node.hello()), timeout)
        link = _link(node, reign, channel)
        yield from link.join(deadline)
        return link
    except (ChannelLost, AuthenticationFailedError) as error:
        log.debug("epoch %s could not be joined: %s", reign.epoch, error)
        if link is not None:
            link.close()
        if isinstance(error, AuthenticationFailedError) and node.key() == node.authkey:
            raise  # else the key was replaced this very moment
        return None
    except BaseException:
        if link is not None:
            link.close()
        raise


def _link(node: Node, reign: Reign, channel: Channel) -> Link:
    try:
        return Link(node, reign, channel)
    except BaseException:
        channel.close()
        raise


def _dial_timeout(node: Node) -> float:
    """Seconds for one attempt: a host that hangs must not keep a peer from what comes next."""
    if not node.state.epoch:
        return _DIAL_TIMEOUT
    timeout = min(_DIAL_TIMEOUT, node.options.network.recovery / 2)  # the next one waits for it
    return min(timeout, node.lease.rhythm) if _may_depose(node) else timeout


def _stand(node: Node, epoch: int, last: int, grant: Grant | None = None) -> Life[Host | None]:
    """Try to become host of an epoch; None when somebody else is faster.

    `last` is the highest epoch that the folder knew of, or 0. Who was granted the next one by its
    host has all there is, and opens at once.
    """
    network = node.options.network
    serving = Serving(
        document=node.document_proxy,
        authkey=node.key,
        attach=lambda channel, hello: node.arrive(epoch, channel, hello),
        max_handshakes=share_of_descriptors(network.max_handshakes),
        handshake_timeout=network.handshake_timeout,
        proxies=node.options.manager.proxies,
    )

    def listen(address: Address) -> MemSyncServer:
        try:
            return node.machine.serve(address, node.authkey, serving)
        except OSError as error:
            raise RendezvousError(
                f"no socket can be made at {address} ({error.strerror}): "
                f"{way_out(error, 'make the folder writable, or set MEMSYNC_DIR to another one')}"
            ) from error

    server = listen(node.folder.socket_address(epoch, node.id))
    if node.machine.misbehaves("a candidate is late"):
        yield Pause(node.waker, 0.02)
    try:
        since = node.machine.wall_ms() / 1000
        lock = node.folder.publish_lock(epoch, node.id, node.machine.pid(), server.endpoint, since)
    except BaseException:
        server.stop()
        raise
    if lock is None:
        server.stop()
        return None
    if last and not node.folder.has_lock(last):
        # All was deleted since: others may have taken this number, and a later one.
        node.leaves_gap = True
        lock.close()
        server.stop()
        return None
    log.info("standing for host %s next_epoch=%s granted=%s", node, epoch, grant is not None)
    try:
        host = Host(node, Seat(node, epoch, lock, server, listen), since)
    except BaseException:
        lock.close()
        server.stop()
        raise
    node.hosting = host
    reported: dict[str, tuple[Channel, Hello]] = {}
    try:
        node.state_epoch_in_file(epoch)
        server.start()
        gathering = _Gathering(node, host, reported)
        if grant is None:
            yield from gathering.run()
        host.seat.look()
        if host.seat.deposed or node.state.epoch >= epoch:
            raise Deposed
        if grant is not None and not grant.leaves:
            node.no_relief_before = node.machine.monotonic() + relief.PAUSE
        gone = node.state.host if grant is not None and grant.leaves else None
        host.open(gathering.living, gone, unheard=gathering.unheard())
        for channel, hello in reported.values():
            host.admit(channel, hello)
        return host
    except BaseException as error:
        for channel, _ in reported.values():
            channel.close()
        yield from host.close(clean=False)
        if isinstance(error, Deposed):
            return None
        raise


class _Gathering:
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
        self._next_mending = self._machine.monotonic() + _LONGEST_PAUSE
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
            yield Pause(self._node.waker, _GATHER_PAUSE)

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
            self._next_mending = now + _LONGEST_PAUSE
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


def _obstacle(node: Node, reign: Reign | None) -> str:
    """Why a running peer has no host, for people: it takes longer than an election does."""
    if reign is not None and reign.held:
        return (
            f"the host (process {reign.pid}, peer {reign.peer}) does not answer: continue or end "
            "that process, unless another peer replaces it"
        )
    if node.options.client_only:
        return "there is no host, and this peer is clientOnly: start a peer that may host"
    return "an election is under way"


def _nobody_answers(node: Node) -> MemSyncError:
    reign = node.folder.reign()
    if reign is not None and reign.is_damaged:
        path = node.folder.path / f"epoch-{reign.epoch}.lock"
        return RendezvousError(
            f"the lock file {path} is held by a living process, "
            "but its content is damaged: that process mends it within its network.poll, unless it "
            "is frozen: continue or end it, then start again"
        )
    if reign is not None and reign.held:
        return HostUnresponsiveError(
            f"the host of {node.name!r} (process {reign.pid}, peer {reign.peer}) does not answer; "
            "continue or end that process, then start again",
            pid=reign.pid,
        )
    return HostUnresponsiveError(
        f"no host of {node.name!r} came up in time, and this peer is clientOnly: start a peer "
        "that may host, or raise the timeout",
        pid=None,
    )
