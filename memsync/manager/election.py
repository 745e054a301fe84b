"""How a peer finds its role: it joins the host that reigns, or becomes host itself.

The highest lock file in the folder decides. Held: its holder is host, or about to be, and is
joined. Free or missing: its number is used up, and whoever links the next one is the candidate; the
others find that lock held and join the candidate. A joiner publishes its peer file first and reads
the highest lock then, a candidate takes its lock first and lists the peers then: one sees the
other.

Before it opens, a candidate gathers the best state there is (see `gathering`).
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from ..errors import (
    AuthenticationFailedError,
    HostUnresponsiveError,
    MemSyncError,
    RendezvousError,
)
from ..replication.membership import Members
from ..replication.messages import (
    Grant,
    Hello,
    frame,
)
from . import relief
from .channel import Channel, ChannelLost
from .contents import Address, Reign
from .gathering import Gathering
from .host import Host
from .link import Link
from .machine import Dial, Life, Pause
from .seat import Deposed, Seat
from .server import MemSyncServer, Serving
from .shortage import way_out

if TYPE_CHECKING:
    from .node import Node

log = logging.getLogger("memsync.election")

_FIRST_PAUSE = 0.0005  # seconds; a killed host's lock is freed an instant after its sockets
_LONGEST_PAUSE = 0.1
_DIAL_TIMEOUT = 5.0  # seconds for one attempt to connect and authenticate, at most
_PRECEDENCE = 0.1  # seconds that others leave to a dedicated host, which takes milliseconds


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
        role = yield from _try_role(node, reign, precedence, deadline)
        if role is not None:
            return role
        if node.machine.monotonic() > deadline:
            raise _nobody_answers(node)
        if pause == _LONGEST_PAUSE:
            node.say_obstacle(_obstacle(node, reign))
        yield Pause(node.waker, pause)
        pause = min(pause * 2, _LONGEST_PAUSE)


def _try_role(
    node: Node, reign: Reign | None, precedence: _Precedence, deadline: float
) -> Life[Host | Link | None]:
    """Join the host that reigns, or stand where there is none; None when neither can be now."""
    if reign is None or not reign.held:
        if node.options.client_only:
            return None
        return (yield from _succeed(node, reign, precedence))
    grant = _grant(node, reign)
    if grant is not None:
        return (yield from _stand(node, reign.epoch + 1, reign, grant))
    if node.host_hangs(reign.epoch):
        if not _may_depose(node):
            return None
        return (yield from _succeed(node, reign, precedence))
    if reign.is_damaged:
        return None
    return (yield from _join(node, reign, deadline))


def _succeed(node: Node, reign: Reign | None, precedence: _Precedence) -> Life[Host | None]:
    """Stand for the epoch after a reign that is over, or hangs, if it is for this peer to do so."""
    last = reign.epoch if reign is not None else 0
    # They tell of epochs that were taken since the locks were read: not to be passed over.
    peers = node.folder.living_peers()
    if node.folder.is_over(last) or not precedence.is_own(peers):
        return None
    if reign is not None and reign.held:
        found = "the host hangs %s host=%s host_pid=%s"
        log.warning(found, node, reign.peer, reign.pid)
    return (yield from _stand(node, _next_epoch(node, last, peers), reign))


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
    """A dedicated host goes first in an election: others leave it the time that it needs."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._own_from: float | None = None  # monotonic seconds

    def is_own(self, peers: Members) -> bool:
        """Whether this peer may stand now, beside the living ones."""
        node = self._node
        is_dedicated = node.options.server_only
        if is_dedicated or not any(content.get("serverOnly") for content in peers.values()):
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


def _stand(
    node: Node, epoch: int, last: Reign | None, grant: Grant | None = None
) -> Life[Host | None]:
    """Try to become host of an epoch; None when somebody else is faster.

    `last` is the highest epoch that the folder knew of, if any. Who was granted the next one by its
    host has all there is, and opens at once.
    """
    network = node.options.network
    serving = Serving(
        document=node.document_proxy,
        authkey=node.key,
        attach=lambda channel, hello: node.arrive(epoch, channel, hello),
        max_handshakes=network.max_handshakes,
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
    try:
        if last is not None and not node.folder.has_lock(last.epoch, last.peer):
            # All was deleted since: others may have taken this number, and a later one.
            node.leaves_gap = True
            lock.close()
            server.stop()
            return None
        log.info("standing for host %s next_epoch=%s granted=%s", node, epoch, grant is not None)
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
        gathering = Gathering(node, host, reported)
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
