"""The host's part in saving: its saver, flushes of clients, and the last save of a group."""

from __future__ import annotations

from collections import deque
from typing import Any

from ...errors import UsageError, to_wire
from ...replication.codec import frame
from ...runtime.flushes import HostEnded, Outcome, wait_for_flush
from ...storage.host_storage import HostStorage
from ...storage.saver import stored_at
from ..context import PeerContext
from ..platform.task import Pause, Task
from ..transport.messages import Flush, Flushed
from .claim import EpochClaim
from .fanout import ClientSession, FanOut
from .ordering import Ordering


class Saving:
    """What a host saves, if the founder states a file (driver, where nothing else is said)."""

    def __init__(
        self, ctx: PeerContext, claim: EpochClaim, fanout: FanOut, ordering: Ordering
    ) -> None:
        self.answers: deque[tuple[str, Flushed]] = deque()  # with the peers that asked
        self._ctx = ctx
        self._claim = claim
        self._fanout = fanout
        self._ordering = ordering
        self._storage: HostStorage | None = None
        self._durable: deque[int] = deque()  # versions that the disk has

    def start(self) -> None:
        """Begin to save; without a file, do nothing."""
        if stored_at(self._ctx.participant) is not None:
            storage = self._storage = HostStorage(
                self._ctx.participant,
                self._claim.epoch,
                self._still_hosts,
                self._note_durable,
                self._publish,
            )
            storage.start()
            self._ordering.journal = storage.journal

    def _note_durable(self, version: int) -> None:
        self._durable.append(version)
        self._ctx.waker.wake()

    def _still_hosts(self) -> bool:
        """Whether no later epoch has begun, by the folder (any thread)."""
        claim, folder = self._claim, self._ctx.place.folder
        is_host = folder.still_hosts(claim.epoch, self._ctx.id, if_missing=False)
        return is_host and not claim.deposed

    def _publish(self) -> None:
        """Record the state of saving in the peer's file (any thread)."""
        self._ctx.place.publish_storage(self.status())

    def status(self) -> dict[str, Any] | None:
        """See `MemSync.get_status` (any thread)."""
        return None if self._storage is None else self._storage.status()

    @property
    def is_busy(self) -> bool:
        """Whether a save is under way."""
        return self._storage is not None and self._storage.is_saving

    # -- flushes ---------------------------------------------------------------------------------

    def flush(self, timeout: float) -> None:
        """See `Role.flush` (any thread)."""
        wait_for_flush(self._storage_or_error().request, timeout)

    def _storage_or_error(self) -> HostStorage:
        if self._storage is None:
            raise UsageError(
                "flush() needs a file: the process that founds the object states file.path"
            )
        return self._storage

    def asked(self, session: ClientSession, message: Flush) -> None:
        """A client asks for a flush."""
        peer, token = session.peer, message.token

        def answer(error: Outcome) -> None:
            if isinstance(error, HostEnded):
                return  # the client asks the next host
            self.answers.append((peer, Flushed(token, None if error is None else to_wire(error))))
            self._ctx.waker.wake()

        try:
            self._storage_or_error().request(answer)
        except UsageError as error:
            answer(error)

    def send_answers(self) -> None:
        """Send the outcomes of flushes, and to writers that their writes are durable."""
        while self._durable:
            self._ordering.durable(self._durable.popleft())
        while self.answers:
            peer, answer = self.answers.popleft()
            session = self._fanout.clients.get(peer)
            if session is not None:
                self._fanout.answer(session, frame(answer))

    # -- the end ---------------------------------------------------------------------------------

    def finish(self) -> Task[None]:
        """Save what has changed, unless another peer has taken over."""
        storage, ctx, claim = self._storage, self._ctx, self._claim
        if storage is None or claim.deposed:
            return
        storage.stop(saves=True, on_end=ctx.waker.wake)
        patience = ctx.platform.monotonic() + ctx.options.timeout
        while not storage.is_over and not claim.deposed:
            now = ctx.platform.monotonic()
            if now > patience:
                storage.give_up(ctx.options.timeout)
                return
            claim.heartbeat(now)
            yield Pause(ctx.waker, ctx.timing.close_check)

    def close(self) -> None:
        """Save no more; what is being written is dropped."""
        if self._storage is not None:
            self._storage.stop(saves=False)
