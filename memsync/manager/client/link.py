"""A client's one connection to the host: joining, following, answering.

`stream` decides which thread reads and which sends. A link is *lost* when its connection ends, when
its host is no longer the host, or when a reader was interrupted inside a message. A lost link is
fenced: nothing new arrives, and what has arrived is still taken in.
"""

from __future__ import annotations

from typing import Any

from ...errors import MemSyncError, ProtocolError, RendezvousError, from_wire
from ...replication.codec import frame
from ...replication.entries import Decision, Entry, SnapshotChunk
from ...replication.outcomes import Outcome
from ...replication.pending import PendingWrite
from ...replication.state import TornCopyError
from ...replication.write_concern import ConcernProgress, ResumeConcern
from ...runtime.awaited_write import AwaitedWrite
from ...runtime.logs import Logger
from ..context import PeerContext
from ..folder.records import EpochRecord
from ..platform.selector import READ, WRITE, Ready
from ..platform.task import Receive, Select, Task, run_task
from ..transport import messages
from ..transport.channel import Channel, ChannelLost
from ..transport.messages import Grant, Message, Welcome, parse_entries
from .host_watch import HostWatch
from .questions import Questions
from .stream import SharedStream

log = Logger("memsync.link")


class Link:
    """A client's role: its connection to the host that `record` names."""

    status = "client"
    leaves_file = True
    handing_over = False
    storage = None  # only the host knows

    def __init__(self, ctx: PeerContext, record: EpochRecord, channel: Channel) -> None:
        self.record = record
        self.granted: Grant | None = None
        self._ctx = ctx
        self._participant = ctx.participant
        self._platform = ctx.platform
        self._stream = SharedStream(ctx, channel, self._is_answer_due)
        self._watch = HostWatch(ctx, record, self._stream)
        self._is_joined = False
        self._must_confirm = False
        self._welcome: Welcome | None = None
        self._refusal: MemSyncError | None = None
        self._questions = Questions(self._stream, self.on_interrupt)
        self.flush = self._questions.flush

    @property
    def lost(self) -> bool:
        return self._stream.lost

    # -- joining (driver) ------------------------------------------------------------------------

    def join(self, deadline: float) -> Task[None]:
        """Wait until this peer has caught up with the host and may write.

        Raises `ChannelLost` when the host is gone or was replaced, or the error of a refusal.
        """
        ctx = self._ctx
        while not self._has_caught_up():
            if not ctx.still_hosts(self.record):
                raise ChannelLost("the host is gone")
            ctx.check_stop()
            if self._platform.monotonic() > deadline:
                raise ChannelLost("the host does not answer in time")
            if ctx.host_hangs(self.record.epoch):
                raise ChannelLost("the host hangs")
            yield from self._round(self._watch.rhythm)
            if self._refusal is not None:
                raise self._refusal
            if self.lost:
                raise ChannelLost(self._stream.reason or "")
        assert self._welcome is not None
        ctx.adopt_group_options()
        self._is_joined = True
        self._participant.enter_role(self, self._welcome.last, hosts=False)

    def _has_caught_up(self) -> bool:
        welcome = self._welcome
        if welcome is None:
            return False
        return self._participant.replica.pair >= (welcome.epoch, welcome.version)

    # -- the driver's loop -----------------------------------------------------------------------

    def run(self) -> Task[str]:
        """Follow the host until the link is lost or the peer stops; returns the reason."""
        ctx, writer = self._ctx, self._participant.writer
        now = self._platform.monotonic()
        self._watch.begin(now)
        next_check = now + self._watch.rhythm
        while not self.lost and not ctx.stopping:
            deadline = min(next_check, writer.next_deadline())
            woken = yield from self._round(max(deadline - now, 0))
            now = self._platform.monotonic()
            writer.give_up_late(now)
            if self._platform.buggify("pending writes are sent again"):
                self._resend(writer.first_open)
            if self._platform.buggify("a link breaks"):
                self._stream.lose("buggify")
            if woken or now >= next_check:
                self._watch.check(now)
                next_check = now + self._watch.rhythm
        return self._stream.reason or "stopped"

    def _round(self, timeout: float) -> Task[bool]:
        """One round of the selector; True when the waker ended the wait."""
        woken = False
        events: Ready = yield Select(self._stream.selector, timeout)
        for key, mask in events:
            if key.fileobj is self._ctx.waker:
                self._ctx.waker.clear()
                woken = True
                continue
            if mask & WRITE:
                self._stream.may_write()
            if mask & READ and self._stream.take_role():
                try:
                    self._receive()
                finally:
                    self._stream.leave_role()
        return woken

    # -- the end (driver) ------------------------------------------------------------------------

    def close(self, *, clean: bool) -> Task[list[Outcome[AwaitedWrite]] | None]:
        """Say goodbye if the peer stops, then `release` the connection."""
        if self._ctx.stopping:
            yield from self._say_goodbye()
        yield from self.release()
        return self._participant.writer.stop_holding_back()

    def _say_goodbye(self) -> Task[None]:
        """Leave; the host pushes what lingers to the others and then ends the connection."""
        self._stream.send([frame(messages.Leave())])
        patience = self._platform.monotonic() + self._ctx.timing.goodbye
        while not self.lost and (left := patience - self._platform.monotonic()) > 0:
            yield from self._round(left)

    def release(self) -> Task[None]:
        """Fence, drain and close: nothing from this host reaches the peer after this."""
        self._stream.lose("closed")
        yield from self._stream.fence()
        if not self._stream.interrupted:  # otherwise the stream has a gap
            self._drain()
        self._questions.end()
        self._stream.close()
        self._participant.replica.drop_chunks()

    def _drain(self) -> None:
        try:
            for body in self._stream.channel.drain():
                self._handle_all([body])
        except MemSyncError as ended:
            log.debug("drained: %s", ended)
        except Exception as error:  # as in `_receive`
            self._participant.tear(error)

    def host_survived(self) -> bool:
        """Whether the link broke although the host lives and no thread here was interrupted."""
        if self._stream.interrupted:
            return False
        try:
            return self._ctx.still_hosts(self.record)
        except RendezvousError:  # the search for the next role logs it
            return True

    # -- the uplink (any thread) -----------------------------------------------------------------

    def queue_write(self, write: PendingWrite, encoded: bytes) -> None:
        self._stream.queue([encoded], write.number)

    def queue_resume(self, message: ResumeConcern) -> None:
        self._stream.queue([frame(message)])

    def kick(self, *, coalesced: bool = False) -> None:
        """Send what is queued, unless another thread is about to."""
        self._stream.kick(coalesced=coalesced)

    def _is_answer_due(self, number: int) -> bool:
        return self._participant.writer.first_open <= number

    def wait_for(self, write: PendingWrite, deadline: float) -> None:
        """Read until the write is decided or the link is lost, unless another thread reads."""
        run_task(self.waiting(write, deadline))

    def waiting(self, write: PendingWrite, deadline: float) -> Task[None]:
        """`wait_for` as a task."""
        stream = self._stream
        if not stream.take_role():
            return
        while not write.done and stream.reason is None:
            left = deadline - self._platform.monotonic()
            if left <= 0:
                break
            if self._was_away():
                continue
            try:
                self._handle_all((yield Receive(stream.channel, left, stream.spin)))
            except (ChannelLost, ProtocolError, TornCopyError) as error:
                self._fail(error)
        stream.leave_role()
        if stream.lost:
            self._ctx.waker.wake()

    def on_interrupt(self) -> None:
        """The calling thread was interrupted in here, at an unknown place.

        The stream has ended, and if that thread was reading the copy is torn. The driver makes a
        new link.
        """
        if self._stream.on_interrupt():
            self._participant.state.tear()
        self._ctx.waker.wake()

    # -- questions (any thread) ------------------------------------------------------------------

    def ping(self, timeout: float) -> dict[str, Any]:
        """The round trip to the host in seconds."""
        seconds = self._questions.ping(timeout)
        return {"connection": "client", "host": {"time": seconds}}

    def host_facts(self) -> dict[str, Any]:
        return {
            "id": self.record.peer,
            "pid": self.record.pid,
            "address": self.record.address,
            "started": True,
            "connections": max(len(self._participant.state.members) - 1, 0),
            "since": self.record.since,
        }

    def describe_host(self) -> str:
        return f"the host is process {self.record.pid}: is it frozen, or busy?"

    # -- receiving (holder of the reader role) ---------------------------------------------------

    def _receive(self) -> None:
        if self._was_away():
            return
        try:
            self._handle_all(self._stream.channel.receive())
        except Exception as error:
            self._fail(error)

    def _was_away(self) -> bool:
        """Whether this process was frozen meanwhile; the stream is then lost."""
        return self._is_joined and self._watch.was_away()

    def _fail(self, error: Exception) -> None:
        if not isinstance(error, (ChannelLost, ProtocolError)):  # this copy or its stream has a gap
            self._participant.tear(error)
            self._stream.break_off("this copy is torn")
            return
        if isinstance(error, ProtocolError):
            log.error("the link to the host is given up %s: %s", self._ctx, error)
        self._stream.lose(str(error))

    def _handle_all(self, bodies: list[memoryview]) -> None:
        stream, ctx = self._stream, self._ctx
        size = sum(map(len, bodies)) + self._participant.replica.writes.pending_bytes
        is_long = size >= ctx.timing.step_bytes
        if not stream.begin_handling():
            return
        try:
            if is_long:
                ctx.begin_step(size)
            self._take_in(bodies)
        finally:
            stream.is_handling = False
            if is_long:
                ctx.end_step(size)

    def _take_in(self, bodies: list[memoryview]) -> None:
        entries: list[Entry] = []
        others: list[Message] = []
        self._must_confirm = False
        rest = iter(bodies)
        try:
            while True:
                self._participant.apply_all(parse_entries(rest, others), entries)
                if not others:
                    break
                self._handle(others.pop())
        except ProtocolError:
            self._participant.publish(entries)  # the entries before the error are valid
            raise
        self._participant.publish(entries)
        if self._must_confirm:
            self._stream.send([frame(messages.Applied(self._participant.state.version))])
        elif self._stream.channel.has_output:
            self.kick()

    def _handle(self, message: object) -> None:
        replica, send = self._participant.replica, self._stream.send
        match message:
            case Decision():
                replica.decide(message)
            case Welcome():
                if message.epoch < replica.state.epoch:
                    raise ProtocolError(
                        f"the host is of epoch {message.epoch}, and this peer has followed a host "
                        f"of epoch {replica.state.epoch}"
                    )
                self._welcome = message
                replica.drop_chunks()  # those of a snapshot that broke off
            case SnapshotChunk():
                self._install(message)
            case messages.Fetch():
                send(self._source(message))
            case messages.Ping():
                send([frame(messages.Pong(message.token))])
            case messages.Pong():
                self._watch.answered(message.token)
                self._questions.pong(message.token)
            case messages.Flushed():
                self._questions.flushed(message)
            case messages.Resend():
                self._resend(message.number)
            case messages.Confirm():
                self._must_confirm = True
            case Grant():
                self.granted = message
                self._stream.lose("the host hands over")
            case ConcernProgress():
                self._participant.writer.reached(message)
            case messages.Refused():
                self._refusal = from_wire(message.error)
                self._stream.lose("refused")
            case _:
                raise ProtocolError(f"a host does not send {type(message).__name__}")

    def _install(self, chunk: SnapshotChunk) -> None:
        if self._welcome is None:
            raise ProtocolError("a snapshot came before Welcome")
        writer = self._participant.writer
        first_open = writer.first_open
        self._participant.install(chunk, self._welcome.last)
        if self._is_joined and writer.first_open < first_open:  # accepted writes were lost
            self._resend(self._welcome.last + 1)

    def _source(self, fetch: messages.Fetch) -> list[bytes]:
        """The frames with which a candidate catches up with this peer."""
        state = self._participant.state
        replica = self._participant.replica
        snapshot, frames = replica.catch_up(fetch.epoch, fetch.version, oldest=fetch.oldest)
        return [frame(messages.Source(state.epoch, state.version, snapshot)), *frames]

    def _resend(self, number: int) -> None:
        writes = self._participant.writer.unsent(number)
        self._stream.send([frame(write.proposal) for write in writes])
