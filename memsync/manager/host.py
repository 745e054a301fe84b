"""The host: one thread with one selector that orders all writes and serves all attached peers.

A round of the loop: read what has arrived, order it, show it, send it (see `outgoing`). A writer's
answer is its own entry, or follows every entry below it, in its one ordered stream.

A write of the host's own is acknowledged when its push is with the kernel for at least one attached
peer, if there is one: from then on two processes hold it.
"""

from __future__ import annotations

import logging
import selectors
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from ..errors import MemSyncError, ProtocolError, RendezvousError, to_wire
from ..replication.concern import Concerns
from ..replication.group_options import check_group_options
from ..replication.membership import Members, check_peer_id, member_of
from ..replication.messages import (
    PROTOCOL,
    Applied,
    Await,
    Confirm,
    Decision,
    Entry,
    Hello,
    Leave,
    Ping,
    Pong,
    Propose,
    Reached,
    Refused,
    Resend,
    Welcome,
    frame,
    parse,
    part_size,
)
from ..replication.sequencer import Ordered, Sequencer
from .channel import Channel, ChannelLost
from .hand_over import HandOver
from .machine import Life, Ready, Select
from .outgoing import STALL, Attached, Mark, Outgoing
from .presence import Presence
from .relief import Relief
from .seat import Deposed, Seat
from .trace import facts_of, refusal

if TYPE_CHECKING:
    from ..replication.replica import Outcome
    from .node import Node
    from .pending_write import PendingWrite

log = logging.getLogger("memsync.host")

_CLOSE_PATIENCE = 2.0  # seconds for the last bytes to leave when the host stops
_SUSPICION = 1.0  # seconds of quick looks after a link broke
_QUICK_LOOK = 0.01  # seconds between them


class Host:
    """The reign of one epoch, from the moment its state is complete."""

    status = "host"

    def __init__(self, node: Node, seat: Seat, since: float) -> None:
        self.seat = seat
        self.epoch = seat.epoch
        self.since = since  # seconds since 1970
        self.arrivals: deque[tuple[Channel, Hello]] = deque()
        self._node = node
        self._inbox: deque[PendingWrite] = deque()
        self._awaits: deque[Await] = deque()
        self._unpushed: deque[tuple[Outcome[PendingWrite], dict[str, Mark]]] = deque()
        self._reached: deque[Reached] = deque()  # of own writes; told when it is sure to count
        self._batch: list[Entry] = []
        self._suspicious_until = 0.0
        self._pings_wanted = False
        self._look_for_writes = False
        self._is_closed = False
        self._machine = node.machine
        self._trace = node.trace
        self._selector = self._machine.new_selector(node.waker)
        self._out = Outgoing(node, self._selector, self._drop, self._catch_up)
        self.attached = self._out.attached
        self.hand_over = HandOver(node, self, self._out)
        self._relief = Relief(node, self._out)
        self._presence = Presence(node, self.attached, self._leave)
        self.concerns = Concerns(node.id)  # its `durable` is for the journal to call
        self._sequencer: Sequencer  # made by open(), when the state is complete

    # -- opening (driver) ------------------------------------------------------------------------

    def open(self, living: set[str], granted_by: str | None, unheard: Members) -> None:
        """Begin the reign: its first entry, the dead leave, this peer is a member.

        The host that stops and has granted this epoch leaves as well. Raises `MaxWritersError` when
        this peer is a newcomer for whom there is no place (see `Presence.begin`), and `Deposed`.
        """
        node = self._node
        node.adopt_group_options()
        node.replica.part = part_size(node.own.max_frame)
        self._sequencer = Sequencer(
            node.state,
            node.log,
            node.clock,
            host=node.id,
            epoch=self.epoch,
            max_frame=node.own.max_frame,
        )
        own = member_of(node.hello())
        gone = self._presence.begin(own, living, granted_by, unheard)
        self.seat.mark(node.state.network)
        self.seat.look()  # the last thing before this copy goes on by itself
        if self.seat.deposed:
            raise Deposed
        body = {"host": node.id, "pid": own["pid"], "address": self.seat.server.endpoint}
        self._push(self._sequencer.enter("reign", body))
        for peer in gone:
            self._push(self._sequencer.leave(peer))
            self._presence.has_left(peer)
        if node.id not in node.state.members:
            self._push(self._sequencer.enter("member", {"join": own}))
        for decision in self._sequencer.attach(node.id, node.own.lowest, node.replica.writes.known):
            node.replica.decide(decision)
        self.seat.write_rendezvous()
        self._suspicious_until = self._machine.monotonic() + _SUSPICION  # who stopped is to go soon
        if not self._machine.misbehaves("what the dead left stays"):
            node.folder.clean(self.epoch)
        node.enter(self, self._sequencer.last(node.id))

    # -- the loop (driver) -----------------------------------------------------------------------

    def run(self) -> Life[str]:
        """Serve until the peer stops, is deposed or relieved; returns why."""
        poll = self._node.options.network.poll
        now = self._machine.monotonic()
        next_look = next_mending = now + poll
        while not self._node.stopping:
            next_event = min(next_look, next_mending, self.seat.next_beat)
            next_event = min(next_event, self._node.own.next_deadline(), self._relief.next_look)
            yield from self.round(max(next_event - now, 0))
            if self.seat.is_lost():
                return "deposed"
            now = self._machine.monotonic()
            self._node.own.give_up_late(now)
            if now >= next_look:
                next_look = now + poll
                self._presence.remove_dead()
                self._presence.forget_the_gone()
            elif now < self._suspicious_until:
                next_look = min(next_look, now + _QUICK_LOOK)
            if now >= next_mending:
                next_mending = now + poll
                self._keep_house()
            self._relief.look(now)
            if self._relief.successor is not None:
                return self._relief.reason
        return "stopped"

    def round(self, timeout: float) -> Life[None]:
        """Take in what has come, within so many seconds, order it, show it and send it."""
        self.seat.beat(self._machine.monotonic())
        if self.seat.deposed:
            return
        arrivals = () if self.hand_over.has_granted else self.arrivals
        if self._out.is_waiting or self._inbox or arrivals or self._awaits or self._reached:
            timeout = 0
        if self._unpushed:
            timeout = min(timeout, STALL / 4)  # to see in time who takes nothing
        self._relief.lag.wait_begins()
        events: Ready = yield Select(self._selector, timeout)
        self._relief.lag.wait_ended()
        if (events or self._inbox) and self.seat.is_lost():
            return
        for key, mask in events:
            if key.fileobj is self._node.waker:
                self._node.waker.clear()
                continue
            attached = self.attached.get(key.data)
            if attached is None or attached.channel is not key.fileobj:
                continue
            if mask & selectors.EVENT_WRITE:
                self._out.urge(attached)
            if mask & selectors.EVENT_READ:
                self._receive(attached)
        if self._look_for_writes:
            self._look_for_writes = False
            self._inbox.extend(self._node.own.unsent(self._sequencer.last(self._node.id) + 1))
        while self._inbox:
            self._order_own(self._inbox.popleft())
        while self._awaits:
            self._watch_own(self._awaits.popleft())
        while self.arrivals and not self.hand_over.has_granted:
            self.admit(*self.arrivals.popleft())
        if self._pings_wanted:
            self._send_pings()
        self._settle()
        if (self._out.has_work or self._unpushed or self._reached) and self.seat.is_lost():
            return
        while self._reached:
            self._node.own.reached(self._reached.popleft())
        self._out.flush(quiet=not events and not self._machine.misbehaves("pushes wait"))
        if self._unpushed and not self.seat.is_lost():
            self._acknowledge_own()

    def _settle(self) -> None:
        """Show and tell what was ordered, but an own write only when it is pushed."""
        node = self._node
        node.replica.settle()
        if self._batch:
            batch, self._batch = self._batch, []
            node.announce(batch)
        outcomes = node.replica.outcomes
        while outcomes:
            outcome = outcomes.popleft()
            if outcome.error is not None or outcome.write.is_concerned:
                node.own.settle(outcome)  # a concern that is met says more than a push does
                continue
            self._unpushed.append((outcome, self._out.marks()))

    # -- ordering --------------------------------------------------------------------------------

    def _receive(self, attached: Attached) -> None:
        self._relief.asked()
        try:
            for body in attached.channel.receive():
                self._handle(attached, parse(body))
                if attached.peer not in self.attached:
                    return
        except ChannelLost as error:
            self._drop(attached, str(error))
        except ProtocolError as error:
            self._drop(attached, f"it broke the protocol: {error}", loud=True)
        except Exception:  # whatever one peer sends, the host goes on for the others
            log.exception("a message of peer %s could not be handled", attached.peer)
            self._drop(attached, "its message could not be handled", loud=True)

    def _handle(self, attached: Attached, message: object) -> None:
        if type(message) is Propose:
            self._order(attached, message)
            return
        match message:
            case Ping():
                self._out.answer(attached, frame(Pong(message.token)))
            case Pong() if message.token:
                self._relief.answered(attached.peer, message.token)
            case Pong():
                attached.round_trip = self._machine.monotonic() - attached.ping_at
                self._node.pinged()
            case Applied():
                for writer, progress in self.concerns.applied(attached.peer, message.version):
                    self._inform(writer, progress)
            case Await():
                self._presence.remove_dead()
                number, version = message.number, message.version
                self._begin_watch(attached.peer, number, version, message.w, message.journal)
            case Leave():
                self._drop(attached, "it left")
                self.hand_over.has_left(attached.peer)
                self._leave(attached.peer)
            case _:
                raise ProtocolError(f"a client does not send {type(message).__name__}")

    def _order(self, attached: Attached, proposal: Propose) -> None:
        if self.hand_over.has_begun:
            return  # it is pending, and sent again to the next host
        clock = self._node.clock
        proposal.timestamp = clock.admit(proposal.timestamp, self._machine.wall_ms())
        self._find_the_dead(proposal)
        result = self._sequencer.propose(attached.peer, proposal)
        if self._trace is not None and not isinstance(result, Ordered):
            self._trace("not ordered", writer=attached.peer, **refusal(proposal, result))
        if isinstance(result, Ordered):
            self._push(result)
        elif isinstance(result, Resend) or not attached.lags:
            attached.channel.queue(frame(result))
        self._watch(attached.peer, proposal, result)
        self._out.urge(attached)

    def _order_own(self, write: PendingWrite) -> None:
        if self.hand_over.has_begun:
            return  # it is pending, and its outcome will be unknown
        if write.proposal.number <= self._sequencer.last(self._node.id):
            return  # queued twice, because its thread was interrupted
        self._find_the_dead(write.proposal)
        result = self._sequencer.propose(self._node.id, write.proposal)
        if self._trace is not None and not isinstance(result, Ordered):
            self._trace("not ordered", writer=self._node.id, **refusal(write.proposal, result))
        if isinstance(result, Resend):
            for earlier in self._node.own.unsent(result.number):
                if not earlier.done:
                    self._inbox.append(earlier)
            return
        if isinstance(result, Ordered):
            self._push(result)
        else:
            self._node.replica.decide(result)
        self._watch(self._node.id, write.proposal, result)

    def _find_the_dead(self, proposal: Propose) -> None:
        """Who is dead by the time that a write is ordered does not count for its concern."""
        if proposal.w is not None:
            self._presence.remove_dead()

    def _push(self, ordered: Ordered) -> None:
        if self._trace is not None:
            self._trace("ordered", **facts_of(ordered.entry))
        self._out.push(ordered.frame)
        self._batch.append(ordered.entry)
        self._node.replica.ordered(ordered.entry)

    # -- write concerns --------------------------------------------------------------------------

    def _watch(self, writer: str, proposal: Propose, result: Ordered | Decision | Resend) -> None:
        """Watch over a write that asks for more than the usual, if it was accepted."""
        if (proposal.w is None and not proposal.journal) or isinstance(result, Resend):
            return
        if isinstance(result, Ordered):
            version = result.entry.version
        elif result.error is None:
            version = result.version
        else:
            return
        w, journal = proposal.w, proposal.journal
        self._begin_watch(writer, proposal.number, version, w, journal)

    def _begin_watch(
        self, writer: str, number: int, version: int, w: int | str | None, journal: bool
    ) -> None:
        members = self._node.state.members
        self._inform(writer, self.concerns.watch(writer, number, version, w, journal, members))
        self._out.push(frame(Confirm()))  # who lags is asked when it has caught up
        self._out.urge_all()

    def _watch_own(self, each: Await) -> None:
        self._presence.remove_dead()
        self._begin_watch(self._node.id, each.number, each.version, each.w, each.journal)

    def _inform(self, writer: str, progress: Reached) -> None:
        """Tell a writer how far the concern of its write has come."""
        if writer == self._node.id:
            self._reached.append(progress)
        elif writer in self.attached:
            self._out.answer(self.attached[writer], frame(progress))

    def _acknowledge_own(self) -> None:
        while self._unpushed:
            outcome, marks = self._unpushed[0]
            if not self._out.is_pushed(marks):
                self._out.urge_all()
                return
            self._unpushed.popleft()
            self._node.own.settle(outcome)

    # -- peers coming and going ------------------------------------------------------------------

    def admit(self, channel: Channel, hello: Hello) -> None:
        """Attach a peer and bring it level, or tell it why not."""
        if self.seat.deposed or self._gives_way_to(hello):
            self.seat.deposed = True
            channel.close()
            return
        try:
            self._check(hello)
        except MemSyncError as error:
            name, peer = self._node.name, hello.peer
            log.info("refused name=%s peer=%s pid=%s: %s", name, peer, hello.pid, error)
            channel.queue(frame(Refused(to_wire(error))))
            self._flush_once(channel)
            channel.close()
            return
        old = self.attached.get(hello.peer)
        if old is not None:
            self._drop(old, "it attached anew")
        if hello.peer not in self._node.state.members:
            self._push(self._sequencer.enter("member", {"join": member_of(hello)}))
        channel.max_frame = self._node.own.max_frame
        log.info("attached name=%s peer=%s pid=%s", self._node.name, hello.peer, hello.pid)
        self._bring_level(channel, hello)

    def _gives_way_to(self, hello: Hello) -> bool:
        """Whether a peer holds what this host cannot go on beside; there is an election then.

        That is the object of a network founded earlier, and a pair that would have to go back: once
        all locks were deleted, nobody may know of a later epoch but those who were in it.
        """
        own = self._node.state.network
        if hello.protocol != PROTOCOL or not hello.network:
            return False
        last = self.epoch if hello.network == own else self.epoch - 1
        if own <= hello.network and hello.epoch <= last:
            return False
        held = f"network={hello.network} epoch={hello.epoch}"
        log.warning("gives way %s: peer=%s holds %s", self._node, hello.peer, held)
        return True

    def _check(self, hello: Hello) -> None:
        if hello.protocol != PROTOCOL:
            raise ProtocolError(
                f"this peer speaks protocol {hello.protocol}, the host (process "
                f"{self._node.hello().pid}) protocol {PROTOCOL}: use one version of memsync"
            )
        check_peer_id(hello.peer)
        if hello.peer == self._node.id:
            raise ProtocolError(f"the id {hello.peer} is the host's own")
        if hello.name != self._node.name:
            raise ProtocolError(f"this host serves {self._node.name!r}, not {hello.name!r}")
        check_group_options(self._node.state.options, hello.options)
        if hello.peer not in self._node.state.members:
            self._presence.make_room(member_of(hello))

    def _bring_level(self, channel: Channel, hello: Hello) -> None:
        attached = Attached(hello.peer, channel)
        is_other = hello.network != self._node.state.network  # it joins as new
        pair = (0, 0) if is_other else (hello.epoch, hello.version)
        self._queue_level(attached, pair, hello.lowest, hello.known)
        self._out.add(attached)

    def _catch_up(self, attached: Attached) -> None:
        """A peer that lagged has taken what was left: it gets the state as it is now."""
        self._queue_level(attached, (0, 0), 1, 1, has_at_most=attached.has_at_most)
        self._out.send(attached)

    def _queue_level(
        self,
        attached: Attached,
        pair: tuple[int, int],
        lowest: int,
        known: int,
        has_at_most: int = 0,
    ) -> None:
        """Queue what brings a peer level, and the outcomes that it may not know."""
        node, channel = self._node, attached.channel
        decisions = self._sequencer.attach(attached.peer, lowest, known)
        if self._machine.misbehaves("a level is a snapshot"):
            pair, has_at_most = (0, 0), max(pair[1], has_at_most)
        snapshot, frames = node.replica.level(*pair, has_at_most)
        last = self._sequencer.last(attached.peer)
        channel.queue(frame(Welcome(node.id, self.epoch, node.state.version, snapshot, last)))
        for each in frames:
            channel.queue(each)
        for decision in decisions:
            channel.queue(frame(decision))
        if self.concerns:
            channel.queue(frame(Confirm()))
        attached.exempt = channel.queued_total

    def _drop(self, attached: Attached, reason: str, *, loud: bool = False) -> None:
        level = logging.WARNING if loud else logging.INFO
        name, peer = self._node.name, attached.peer
        log.log(level, "detached name=%s peer=%s reason=%r", name, peer, reason)
        self._out.remove(attached)
        self._suspicious_until = self._machine.monotonic() + _SUSPICION

    def _leave(self, peer: str, keeps_row: bool = False) -> None:
        if self.hand_over.has_granted:
            return  # an entry more, and the successor would not have all; it will see who is gone
        self._presence.has_left(peer)
        self._push(self._sequencer.leave(peer, keeps_row=keeps_row))
        for writer, progress in self.concerns.forget(peer):
            self._inform(writer, progress)

    def _keep_house(self) -> None:
        self._node.replica.forget_encoding()
        self._node.try_to_mend(self.seat.mend_as_host)

    # -- the node's other threads ----------------------------------------------------------------

    def queue_write(self, write: PendingWrite, encoded: bytes) -> None:
        """Hand a write of the host's own to the loop; the node's guard is held."""
        self._inbox.append(write)

    def queue_await(self, message: Await) -> None:
        """Have an accepted write of the host's own watched; the node's guard is held."""
        self._awaits.append(message)

    def kick(self, *, lazy: bool = False) -> None:
        """Make the loop look."""
        self._node.waker.wake()

    def wait_for(self, write: PendingWrite, deadline: float) -> None:
        """The loop decides; there is nothing the waiting thread could do for it."""

    def break_off(self) -> None:
        """A writing thread was interrupted: look for writes that it numbered but did not queue."""
        self._look_for_writes = True
        self._node.waker.wake()

    def arrive(self, channel: Channel, hello: Hello) -> None:
        """A peer asks to be attached (called on a handshake's thread)."""
        self.arrivals.append((channel, hello))
        if self._is_closed:
            self._turn_away()
        self._node.waker.wake()

    def _turn_away(self) -> None:
        with suppress(IndexError):  # there are two threads at it, if a peer comes at the end
            while True:
                self.arrivals.popleft()[0].close()

    def request_pings(self) -> None:
        """Have all attached peers pinged."""
        for attached in list(self.attached.values()):
            attached.round_trip = None
        self._pings_wanted = True
        self._node.waker.wake()

    def round_trips(self) -> list[dict[str, Any]]:
        """The attached peers and their last round trip in seconds, None while it is unknown."""
        return [{"id": a.peer, "time": a.round_trip} for a in list(self.attached.values())]

    def _send_pings(self) -> None:
        self._pings_wanted = False
        for attached in self.attached.values():
            attached.ping_at = self._machine.monotonic()
            self._out.answer(attached, frame(Ping(0)))

    # -- the end ---------------------------------------------------------------------------------

    def close(self, *, clean: bool) -> Life[None]:
        """End the reign: the last bytes leave, a peer takes over, and the lock is free.

        Without `clean`, or when somebody else reigns already, everything is just let go.
        """
        try:
            if clean and not self.seat.deposed:
                yield from self._let_go()
                self.seat.leave()
        except RendezvousError as error:  # an election follows
            log.warning("not handed over %s: %s", self._node, error)
        finally:
            self.seat.close()
        for attached in list(self.attached.values()):
            attached.channel.shut_writing()
            self._drop(attached, "the reign is over")
        self._is_closed = True
        self._node.hosting = None
        self._turn_away()
        self._node.folder.remove_short_folder(self.seat.server.endpoint)
        self._machine.drop_selector(self._selector)

    def _let_go(self) -> Life[None]:
        if not self._node.stopping and self._relief.successor is not None:
            yield from self.hand_over.to(self._relief.successor)
            return
        yield from self._say_good_bye()
        yield from self.hand_over.to_anybody()
        if not self.seat.deposed and self.hand_over.is_last():
            self.seat.mark("")

    def _say_good_bye(self) -> Life[None]:
        patience = self._machine.monotonic() + _CLOSE_PATIENCE
        yield from self.round(0)
        while self._machine.monotonic() < patience and not self.seat.deposed:
            self._out.urge_all()
            waiting = [a for a in self.attached.values() if a.channel.backlog]
            if not waiting and not self._unpushed and not self._inbox:
                return
            yield from self.round(0.05)

    def give_back(self) -> list[Outcome[PendingWrite]]:
        """The own writes that were ordered, but not acknowledged before the reign ended."""
        return [*(outcome for outcome, _ in self._unpushed), *self._node.own.untold()]

    def _flush_once(self, channel: Channel) -> None:
        try:
            channel.flush()
        except ChannelLost as error:
            log.debug("the refused peer has gone already: %s", error)
