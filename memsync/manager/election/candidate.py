"""A candidate: it has taken the next epoch's lock, recovers the best state, and opens as host.

If a step fails, one exit stack closes what the candidate has made: its socket, its lock, and the
connections of the peers that reported.
"""

from __future__ import annotations

from contextlib import ExitStack
from functools import partial

from ...errors import RendezvousError
from ...runtime.logs import Logger
from ..context import PeerContext
from ..folder.records import Address
from ..host.admission import JoiningPeers
from ..host.claim import Deposed, EpochClaim
from ..host.host import Host
from ..host.inspection import inspect
from ..manager import DocumentProxy
from ..platform.descriptors import hint
from ..platform.task import Pause, Task
from ..states import PeerEvent
from ..transport.messages import Grant
from ..transport.server import MemSyncServer, ServerConfig
from .recovery import Recovery

log = Logger("memsync.election")


class Candidate:
    """A peer that campaigns for an epoch (driver only).

    A peer to which the host has granted the epoch has the whole state and skips the recovery.
    """

    def __init__(self, ctx: PeerContext, epoch: int, grant: Grant | None) -> None:
        self._ctx = ctx
        self._epoch = epoch
        self._grant = grant
        self._joining = JoiningPeers(ctx.waker)

    def campaign(self) -> Task[Host | None]:
        """Try to become host; None when another peer is faster."""
        ctx = self._ctx
        with ExitStack() as undo:
            claim = yield from self._claim(undo)
            if claim is None:
                ctx.states.on(PeerEvent.TOO_LATE)
                return None
            ctx.states.on(PeerEvent.LOCK_TAKEN)
            try:
                host = yield from self._open(claim, undo)
            except Deposed:
                ctx.states.on(PeerEvent.DEPOSED)
                return None
            undo.pop_all()
            ctx.states.on(PeerEvent.OPENED)
            return host

    def _claim(self, undo: ExitStack) -> Task[EpochClaim | None]:
        """Listen, and take the epoch's lock."""
        ctx, epoch = self._ctx, self._epoch
        folder = ctx.place.folder
        server = self._listen(folder.socket_address(epoch, ctx.id))
        undo_server = undo.enter_context(ExitStack())
        undo_server.callback(server.stop)
        if ctx.platform.buggify("a candidate is late"):
            yield Pause(ctx.waker, ctx.timing.late_candidate)
        since = ctx.platform.wall_ms() / 1000
        lock = folder.publish_lock(epoch, ctx.id, ctx.platform.pid(), server.endpoint, since)
        if lock is None:
            return None
        undo_server.callback(lock.close)
        claim = EpochClaim(ctx, epoch, lock, server, self._listen, since)
        undo_server.pop_all()
        undo.callback(claim.close)
        undo.callback(self._joining.close)
        reason = "no host answers" if self._grant is None else "the host hands over to this peer"
        log.info("campaigning %s next_epoch=%s reason=%r", ctx, epoch, reason)
        return claim

    def _listen(self, address: Address) -> MemSyncServer:
        ctx, network = self._ctx, self._ctx.options.network
        document = DocumentProxy(ctx.participant)
        config = ServerConfig(
            document=document,
            authkey=ctx.place.key,
            attach=self._joining.accept,
            max_handshakes=network.max_handshakes,
            handshake_timeout=network.handshake_timeout,
            proxies=ctx.options.manager.proxies,
            describe=document.locks,
            inspect=partial(inspect, ctx.participant),
        )
        try:
            return ctx.platform.serve(address, ctx.place.authkey, config)
        except OSError as error:
            raise RendezvousError(
                f"no socket can be made at {address} ({error.strerror}): "
                f"{hint(error, 'make the folder writable, or set MEMSYNC_DIR to another one')}"
            ) from error

    def _open(self, claim: EpochClaim, undo: ExitStack) -> Task[Host]:
        """Recover, and begin the epoch; raises `Deposed` when another peer took a later one."""
        ctx = self._ctx
        ctx.place.state_epoch(self._epoch)
        claim.server.start()
        recovery = Recovery(ctx, claim, self._joining)
        undo.callback(recovery.close)
        if self._grant is None:
            yield from recovery.run()
        claim.check()
        if claim.deposed or ctx.participant.state.epoch >= self._epoch:
            raise Deposed
        host = Host(ctx, claim, self._joining)
        undo.callback(host.release)
        host.open(recovery.living, self._leaving_host(), recovery.unreported())
        for channel, hello in recovery.take_reported():
            host.admission.attach(channel, hello)
        return host

    def _leaving_host(self) -> str | None:
        """The host that has granted this epoch, if it leaves the group."""
        ctx = self._ctx
        if self._grant is None:
            return None
        if self._grant.leaves:
            return ctx.participant.state.host
        ctx.no_step_down_before = ctx.platform.monotonic() + ctx.timing.step_down_pause
        return None
