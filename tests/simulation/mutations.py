"""The code broken on purpose, in one way each: what the simulation must notice.

A mutation is a context in which one function of memsync is wrong. If no seed finds it, the checkers
or the faults are too weak.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest import mock

from memsync.document import CopyOnWrite, Sharing, to_plain
from memsync.manager.client import link, stream
from memsync.manager.election import election, recovery
from memsync.manager.folder import folder
from memsync.manager.host import claim, fanout, handover, host, liveness, ordering
from memsync.manager.platform import platform
from memsync.replication import (
    conflicts,
    log,
    pending,
    recovery_reports,
    replica,
    sequencer,
    sessions,
    state,
)
from memsync.replication.codec import frame
from memsync.replication.entries import Decision
from memsync.replication.kinds import lock, method
from memsync.replication.kinds import patch as patch_kind
from memsync.runtime import announcer, participant, writer

Mutation = Callable[[], Any]
MUTATIONS: dict[str, Mutation] = {}
# Without a limit: most peers would stand by, as so many join.
_INTERRUPTS = {"faults": ["interrupt_a_waiting_user", "join"], "points": [], "limited": False}
FOCUS: dict[str, dict[str, Any]] = {
    "a_missing_file_counts_as_a_free_one": {
        "faults": ["delete_files", "cut", "freeze", "kill_host", "slow_peer"],
    },
    "a_refusal_is_forgotten_after_an_earlier_write_was_recalled": {
        "faults": ["freeze_host_past_its_lease", "freeze_writer_and_kill_host", "cut", "slow_peer"],
        "points": ["a link breaks", "a catch-up is a snapshot", "a peer lags"],
        "kinds": ["set", "inc", "parent", "counter"],
        "strict": True,
    },
    "a_write_that_changed_nothing_comes_back_as_pending": {
        "faults": ["freeze_host_past_its_lease", "freeze_writer_and_kill_host", "cut", "slow_peer"],
        "points": ["a link breaks"],
        "kinds": ["nothing", "inc"],
        "capacity": 300,
    },
    "an_own_write_is_hidden_before_it_has_come": {
        "faults": ["slow_peer", "cut", "freeze"],
        "points": ["a catch-up is a snapshot", "a link breaks"],
    },
    "a_mark_outlives_its_connection": {
        "faults": ["cut", "slow_peer"],
        "points": ["pushes wait"],
        "kinds": ["inc"],
        "capacity": 300,
        "limited": False,
    },
    "a_peer_is_kept_for_long_by_a_host_that_hangs": {
        "faults": ["freeze_host_past_its_lease", "cut", "join"],
        "points": ["a link breaks"],
    },
    "a_host_that_hands_over_goes_on_ordering": {
        "faults": ["stop", "busy_host", "join"],
        "points": ["a candidate is late"],
        "kinds": ["inc"],
        "limited": False,
    },
    "pairs_of_two_clusters_are_compared": {"wipes": True},
    "two_threads_send_at_once": {
        "faults": ["interrupt_a_waiting_user", "slow_peer"],
        "points": ["a send takes one byte"],
        "kinds": ["inc"],
        "capacity": 300,
        "limited": False,
    },
    "an_interrupted_reader_does_not_mark_the_state_torn": {
        "faults": ["interrupt_a_waiting_user"],
        "points": [],
    },
    "an_interrupted_reader_keeps_the_role": {
        "faults": ["interrupt_a_waiting_user", "kill_host", "join"],
        "points": [],
        "limited": False,
    },
    "a_write_that_was_interrupted_before_it_was_shown_stays_hidden": _INTERRUPTS,
    "a_number_is_given_twice_after_an_interrupt": _INTERRUPTS,
    "a_view_is_made_of_a_torn_state": _INTERRUPTS,
    "callbacks_hear_again_what_came_before_an_interrupt": _INTERRUPTS,
    "a_newcomer_does_not_wait_for_those_without_files": {
        "faults": ["delete_files_in_the_crash", "join"],
        "points": [],
        "kinds": ["inc"],
        "limited": False,
    },
}
"""Settings in which few seeds find what happens rarely otherwise."""
RARE = {
    "a_mark_outlives_its_connection",
    "a_missing_file_counts_as_a_free_one",
    "a_peer_is_kept_for_long_by_a_host_that_hangs",
    "an_interrupted_reader_does_not_mark_the_state_torn",
    "an_own_write_is_hidden_before_it_has_come",
    "the_fence_does_not_wait_for_the_reader",
}
"""What takes many seeds all the same, or long ones."""


def _mutation(function: Callable[[ExitStack], None]) -> Callable[[ExitStack], None]:
    @contextmanager
    def context() -> Iterator[None]:
        with ExitStack() as stack:
            function(stack)
            yield

    MUTATIONS[function.__name__] = context
    return function


def _replace(stack: ExitStack, owner: Any, name: str, make: Callable[[Any], Any]) -> None:
    """Replace a function by what is made of it."""
    stack.enter_context(mock.patch.object(owner, name, make(getattr(owner, name))))


@_mutation
def duplicates_are_ordered_again(stack: ExitStack) -> None:
    """The dedupe is skipped."""

    def make(propose: Any) -> Any:
        def mutant(self: Any, peer: str, proposal: Any) -> Any:
            queue = self._queues[peer]
            queue.next = min(queue.next, proposal.number)
            return propose(self, peer, proposal)

        return mutant

    _replace(stack, sequencer.Sequencer, "propose", make)


@_mutation
def an_answer_comes_before_the_entries_below_it(stack: ExitStack) -> None:
    """The writer gets its answer at once, ahead of entries that are queued for it."""

    def make(order: Any) -> Any:
        def mutant(self: Any, session: Any, proposal: Any) -> None:
            version = self._participant.state.version
            order(self, session, proposal)
            if self._participant.state.version > version and not session.channel._begun:
                answer = frame(Decision(proposal.number, version + 1))
                session.channel._outbound.appendleft(answer)
                session.channel.queued_total += len(answer)

        return mutant

    _replace(stack, ordering.Ordering, "order", make)


@_mutation
def a_survivor_reports_before_it_has_drained(stack: ExitStack) -> None:
    """What the dead host sent last is thrown away."""
    _replace(stack, link.Link, "_drain", lambda _: lambda self: None)


@_mutation
def a_host_opens_without_recovery(stack: ExitStack) -> None:
    """It neither waits nor asks."""

    def make(_: Any) -> Any:
        def mutant(self: Any, deadline: float) -> Any:
            yield from ()

        return mutant

    _replace(stack, recovery.Recovery, "_collect", make)


@_mutation
def a_newcomer_serves_its_default(stack: ExitStack) -> None:
    """A peer without a copy founds the object, whatever others hold."""

    def make(run: Any) -> Any:
        def mutant(self: Any) -> Any:
            if self._participant.replica.pair == (0, 0):
                self._participant.bootstrap(self._platform.new_cluster_id())
                return
            yield from run(self)

        return mutant

    _replace(stack, recovery.Recovery, "run", make)


@_mutation
def a_pending_patch_is_replayed_instead_of_recompiled(stack: ExitStack) -> None:
    """Its indexes and values are those of another document."""

    def make(compiled: Any) -> Any:
        def mutant(self: Any, copy: Any) -> Any:
            operations = []
            for number, write in self.writes.pending.items():
                if number > self._last_decided:
                    try:
                        copy.replay(write.operations)
                    except Exception:
                        return compiled(self, copy)
                    operations += write.operations
            return operations

        return mutant

    _replace(stack, replica.Replica, "_recompile", make)


@_mutation
def touch_is_judged_by_what_updates_name(stack: ExitStack) -> None:
    """A parent or a field that is created touches nothing."""

    def make(_: Any) -> Any:
        def mutant(self: Any, write: Any) -> set[str]:
            body = write.proposal.body
            return {f"/{path.replace('.', '/')}" for fields in body.values() for path in fields}

        return mutant

    _replace(stack, replica.Replica, "_places", make)
    _replace(
        stack,
        replica,
        "read_write_set",
        lambda _: lambda operations: [operation["path"] for operation in operations],
    )


@_mutation
def entries_are_replayed_over_what_is_pending(stack: ExitStack) -> None:
    """The overlay is forgotten: no rebase."""

    def make(_: Any) -> Any:
        def mutant(self: Any, operations: Any, own: int) -> bool:
            if own in self.writes.pending:
                return True
            try:
                copy = CopyOnWrite(to_plain(self.view))
                copy.replay(operations)
            except Exception:
                return False
            return True

        return mutant

    _replace(stack, replica.Replica, "_can_be_shown", make)


@_mutation
def a_shown_write_reaches_the_confirmed_document(stack: ExitStack) -> None:
    """The two documents share a container that only one of them changes."""
    _replace(stack, Sharing, "open_shown", lambda _: lambda self, confirmed, operation: confirmed)


@_mutation
def a_waiting_entry_is_shown_before_the_rebase(stack: ExitStack) -> None:
    """The confirmed document is not opened for it."""

    def make(_: Any) -> Any:
        def mutant(self: Any, confirmed: Any, operation: Any) -> Any:
            return self._opened_root(confirmed)

        return mutant

    _replace(stack, Sharing, "_opened", make)


@_mutation
def one_entry_is_dropped_for_one_peer(stack: ExitStack) -> None:
    """Every hundredth push leaves one peer out."""
    count = iter(range(1, 1_000_000_000))

    def make(push: Any) -> Any:
        def mutant(self: Any, encoded: bytes) -> None:
            left_out = None
            if next(count) % 100 == 0 and self.clients:
                left_out = next(iter(self.clients.values()))
                self._take(left_out)
            push(self, encoded)
            if left_out is not None:
                left_out.taken += 1

        return mutant

    _replace(stack, fanout.FanOut, "push", make)


@_mutation
def two_entries_are_swapped(stack: ExitStack) -> None:
    """Every hundredth push overtakes the one before it."""
    count = iter(range(1, 1_000_000_000))

    def make(push: Any) -> Any:
        def mutant(self: Any, encoded: bytes) -> None:
            push(self, encoded)
            if next(count) % 20:
                return
            waiting = self._frames
            if len(waiting) > 2 and all(
                each.taken < len(waiting) - 1 for each in self.clients.values()
            ):
                waiting[-1], waiting[-2] = waiting[-2], waiting[-1]

        return mutant

    _replace(stack, fanout.FanOut, "push", make)


@_mutation
def pending_writes_are_lost_on_a_take_over(stack: ExitStack) -> None:
    """The next host does not get what the last one has not decided."""

    def make(enter: Any) -> Any:
        def mutant(self: Any, uplink: Any, last: int, **kwargs: Any) -> None:
            enter(self, uplink, 1 << 60, **kwargs)

        return mutant

    _replace(stack, writer.Writer, "enter", make)


@_mutation
def a_conflict_is_seen_with_the_last_entry_only(stack: ExitStack) -> None:
    """Entries before it are ignored."""

    def make(find: Any) -> Any:
        def mutant(self: Any, base: int, *args: Any, **kwargs: Any) -> Any:
            return find(self, max(base, self.newest - 1), *args, **kwargs)

        return mutant

    _replace(stack, conflicts.ConflictIndex, "find", make)


@_mutation
def the_timestamp_of_a_path_is_lowered(stack: ExitStack) -> None:
    """Newer writes look older."""

    def make(note: Any) -> Any:
        def mutant(self: Any, version: int, timestamp: int, *args: Any) -> None:
            note(self, version, timestamp - (2000 << 16), *args)

        return mutant

    _replace(stack, conflicts.ConflictIndex, "note", make)


@_mutation
def refused_numbers_are_forgotten_in_the_table(stack: ExitStack) -> None:
    """The next entry does not carry them."""

    def make(record: Any) -> Any:
        def mutant(self: Any, entry: Any) -> None:
            entry.decided = []
            record(self, entry)

        return mutant

    _replace(stack, sessions.WriterSession, "record", make)


@_mutation
def a_host_acknowledges_its_own_write_before_it_is_pushed(stack: ExitStack) -> None:
    """Only one process holds it then."""
    _replace(stack, fanout.FanOut, "is_pushed", lambda _: lambda self, marks: True)


@_mutation
def a_newcomer_is_let_in_although_all_places_are_taken(stack: ExitStack) -> None:
    """The limit of writers is not checked."""
    _replace(stack, liveness, "check_room", lambda _: lambda members, newcomer: None)


@_mutation
def the_worst_state_is_taken(stack: ExitStack) -> None:
    """RecoveryReports goes on with the candidate's own."""

    def make(_: Any) -> Any:
        def mutant(self: Any) -> Any:
            return self._candidate, self._pairs[self._candidate]

        return mutant

    _replace(stack, recovery_reports.RecoveryReports, "best", make)


@_mutation
def a_version_is_enough_to_bring_a_peer_level(stack: ExitStack) -> None:
    """The log does not look at the epoch."""

    def make(since: Any) -> Any:
        def mutant(self: Any, epoch: int, version: int) -> Any:
            held = self.epoch_at(version)
            return since(self, held if held is not None else epoch, version)

        return mutant

    _replace(stack, log.Log, "since", make)


@_mutation
def a_peer_that_lost_its_link_counts_as_dead(stack: ExitStack) -> None:
    """Its session is dropped, although the peer will come back."""

    def make(drop: Any) -> Any:
        def mutant(self: Any, session: Any, reason: str, **kwargs: Any) -> None:
            drop(self, session, reason, **kwargs)
            if reason not in ("the epoch is over", "it left", "it attached again"):
                self._leave(session.peer)

        return mutant

    _replace(stack, host.Host, "_drop", make)


@_mutation
def a_snapshot_lacks_the_exactly_once_table(stack: ExitStack) -> None:
    """The document alone is not the state."""

    def make(encode: Any) -> Any:
        def mutant(self: Any) -> bytes:
            table, self.sessions = self.sessions, {}
            try:
                data: bytes = encode(self)
            finally:
                self.sessions = table
            return data

        return mutant

    _replace(stack, state.State, "encode", make)


@_mutation
def an_own_write_is_hidden_before_it_has_come(stack: ExitStack) -> None:
    """As it was in memsync until the simulation found it."""

    def make(restart: Any) -> Any:
        def mutant(self: Any, decided: int) -> None:
            restart(self, decided)
            self._last_decided = max(self._last_decided, decided)

        return mutant

    _replace(stack, replica.Replica, "_restart_from_state", make)


# -- memsync before the simulation found these faults ---------------------------------------------


@_mutation
def a_write_that_changed_nothing_comes_back_as_pending(stack: ExitStack) -> None:
    """It was remembered like one that made an entry, was recalled, and was never sent."""

    def make(settle: Any) -> Any:
        def mutant(self: Any, decision: Any) -> None:
            decision.made_entry = decision.error is None
            settle(self, decision)

        return mutant

    _replace(stack, replica.Replica, "_complete_one", make)
    _replace(stack, link.Link, "_resend", lambda _: lambda self, number: None)


@_mutation
def a_refusal_is_forgotten_after_an_earlier_write_was_recalled(stack: ExitStack) -> None:
    """Later proposals still claimed that every outcome below them was known."""

    def make(recall: Any) -> Any:
        def mutant(self: Any, last: int) -> int:
            said = {number: write.proposal.acked_below for number, write in self.pending.items()}
            said |= {write.proposal.number: write.proposal.acked_below for write in self._recent}
            lost: int = recall(self, last)
            for number, write in self.pending.items():
                write.proposal.acked_below = said[number]
            return lost

        return mutant

    _replace(stack, pending.PendingWrites, "recall", make)


@_mutation
def a_mark_outlives_its_connection(stack: ExitStack) -> None:
    """Bytes sent on a new connection were counted against those queued on the old one."""

    def make(_: Any) -> Any:
        def mutant(self: Any, marks: Any) -> bool:
            for peer in list(marks):
                session = self.clients.get(peer)
                if session is None or session.is_slow or session.times_slow != marks[peer][1]:
                    del marks[peer]
            if not marks:
                marks.update(self.marks())
            return not marks or any(
                self.clients[peer].channel.sent_total >= mark[2] for peer, mark in marks.items()
            )

        return mutant

    _replace(stack, fanout.FanOut, "is_pushed", make)


@_mutation
def an_idle_deposed_host_goes_on(stack: ExitStack) -> None:
    """It checked for a successor only when it had something to do."""
    _replace(stack, folder.ObjectFolder, "is_over", lambda _: lambda self, epoch: False)


@_mutation
def pairs_of_two_clusters_are_compared(stack: ExitStack) -> None:
    """Without cluster ids an object that was founded twice was mixed from both."""
    _replace(stack, platform.Platform, "new_cluster_id", lambda _: lambda self: "0")


# -- leases, handover, deletion --------------------------------------------------------------------


@_mutation
def a_deposed_host_answers(stack: ExitStack) -> None:
    """It does not check whether another peer hosts."""
    _replace(stack, claim.EpochClaim, "is_lost", lambda _: lambda self: False)
    _replace(stack, folder.ObjectFolder, "is_over", lambda _: lambda self, epoch: False)


@_mutation
def a_host_that_hands_over_goes_on_ordering(stack: ExitStack) -> None:
    """What it ordered after its grant was in no other copy."""
    never = property(lambda self: False, lambda self, value: None)
    stack.enter_context(mock.patch.object(ordering.Ordering, "is_over", never, create=True))
    stack.enter_context(mock.patch.object(handover.Handover, "has_granted", never, create=True))


@_mutation
def a_missing_file_counts_as_a_free_one(stack: ExitStack) -> None:
    """Deleting the file of a peer declares it dead."""

    def make(is_alive: Any) -> Any:
        def mutant(self: Any, peer: str) -> bool:
            return bool(is_alive(self, peer))

        return mutant

    _replace(stack, folder.ObjectFolder, "is_alive", make)


@_mutation
def a_peer_is_kept_for_long_by_a_host_that_hangs(stack: ExitStack) -> None:
    """It shook hands with a frozen process while others recovered without it."""
    _replace(stack, election.Election, "_dial_timeout", lambda _: lambda self: 5.0)


@_mutation
def a_newcomer_does_not_wait_for_those_without_files(stack: ExitStack) -> None:
    """All files were deleted, the host died, and a newcomer began a new object."""

    def make(init: Any) -> Any:
        def mutant(self: Any, *args: Any) -> None:
            init(self, *args)
            self._survivors_patience = 0.0

        return mutant

    _replace(stack, recovery.Recovery, "__init__", make)


# -- threads that share a link ---------------------------------------------------------------------


@_mutation
def the_fence_does_not_wait_for_the_reader(stack: ExitStack) -> None:
    """The driver drains the stream while a user holds bytes that came before."""

    def make(_: Any) -> Any:
        def mutant(self: Any) -> Any:
            self.channel.shut_reading()
            self._reader = self._driver
            yield from ()

        return mutant

    _replace(stack, stream.SharedStream, "fence", make)


@_mutation
def a_user_that_has_its_answer_keeps_the_reader_role(stack: ExitStack) -> None:
    """Nobody reads what comes after it."""

    def make(leave_role: Any) -> Any:
        def mutant(self: Any) -> None:
            if self._platform.task_id() == self._driver:
                leave_role(self)

        return mutant

    _replace(stack, stream.SharedStream, "leave_role", make)


@_mutation
def the_driver_reads_while_a_user_holds_the_role(stack: ExitStack) -> None:
    """Two threads take the pieces of one stream."""

    def take(take_role: Any) -> Any:
        def mutant(self: Any) -> bool:
            is_driver = self._platform.task_id() == self._driver
            return not self.lost if is_driver else bool(take_role(self))

        return mutant

    def leave(leave_role: Any) -> Any:
        def mutant(self: Any) -> None:
            if self._platform.task_id() != self._driver:
                leave_role(self)

        return mutant

    def update(update_interest: Any) -> Any:
        def mutant(self: Any) -> None:
            reader, self._reader = self._reader, None
            try:
                update_interest(self)
            finally:
                self._reader = reader

        return mutant

    _replace(stack, stream.SharedStream, "take_role", take)
    _replace(stack, stream.SharedStream, "leave_role", leave)
    _replace(stack, stream.SharedStream, "_update_interest", update)


@_mutation
def two_threads_send_at_once(stack: ExitStack) -> None:
    """The sender role is not respected, so a frame is cut by another one."""

    def make(kick: Any) -> Any:
        def mutant(self: Any, *, coalesced: bool = False) -> None:
            sender, self._sender = self._sender, None
            kick(self, coalesced=coalesced)
            self._sender = sender

        return mutant

    _replace(stack, stream.SharedStream, "kick", make)


@_mutation
def an_interrupted_reader_does_not_mark_the_state_torn(stack: ExitStack) -> None:
    """An entry may be in the state and not in the log."""

    def make(_: Any) -> Any:
        def mutant(self: Any) -> None:
            self._stream.on_interrupt()
            self._ctx.waker.wake()

        return mutant

    _replace(stack, link.Link, "on_interrupt", make)


@_mutation
def an_interrupted_reader_keeps_the_role(stack: ExitStack) -> None:
    """The fence waits for a thread that has gone."""

    def make(on_interrupt: Any) -> Any:
        def mutant(self: Any) -> bool:
            roles = self._reader, self._sender
            was_reader = bool(on_interrupt(self))
            self._reader, self._sender = roles
            return was_reader

        return mutant

    _replace(stack, stream.SharedStream, "on_interrupt", make)


@_mutation
def a_write_that_was_interrupted_before_it_was_shown_stays_hidden(stack: ExitStack) -> None:
    """The view was not marked stale before the write was numbered."""

    def make(show: Any) -> Any:
        def mutant(self: Any, write: Any) -> None:
            was_stale = self.must_rebuild
            try:
                show(self, write)
            except KeyboardInterrupt:
                self.must_rebuild = was_stale
                raise

        return mutant

    _replace(stack, replica.Replica, "show", make)


@_mutation
def a_number_is_given_twice_after_an_interrupt(stack: ExitStack) -> None:
    """The second write got the answer of the first one, and was never ordered."""
    given = property(lambda self: self._next)
    stack.enter_context(mock.patch.object(pending.PendingWrites, "next_number", given))


@_mutation
def a_view_is_made_of_a_torn_state(stack: ExitStack) -> None:
    """An interrupted reader's copy was shown before the next link had replaced it."""

    def make(_: Any) -> Any:
        def mutant(self: Any) -> Any:
            if self.must_rebuild and self.state.pair >= self.view_pair:
                with self.guard:
                    self._catch_up_view()
            return self.published()

        return mutant

    _replace(stack, replica.Replica, "publish", make)


@_mutation
def callbacks_hear_again_what_came_before_an_interrupt(stack: ExitStack) -> None:
    """A copy that replaced a torn one began with entries that had been announced."""

    def make(_: Any) -> Any:
        def mutant(self: Any, entries: Any) -> None:
            published = self.replica.publish()
            self.announce_entries(entries)
            self.writer.complete_all(published)

        return mutant

    _replace(stack, participant.Participant, "publish", make)


@_mutation
def an_index_may_name_another_element(stack: ExitStack) -> None:
    """A list of operations was applied to whatever was at its index by then."""
    _replace(stack, patch_kind, "check_indexes", lambda check: lambda *arguments: None)


@_mutation
def the_rule_last_refuses(stack: ExitStack) -> None:
    """The timestamps decided in a group with ``conflict: last``, too."""

    def make(check: Any) -> Any:
        def mutant(state: Any, *rest: Any) -> None:
            part = state.parts["patch"]
            rule = part.rule
            try:
                part.rule = "timestamp" if rule == "last" else rule
                check(state, *rest)
            finally:
                part.rule = rule

        return mutant

    _replace(stack, patch_kind, "_check_conflict", make)


@_mutation
def events_that_a_snapshot_stands_for_are_not_counted(stack: ExitStack) -> None:
    """A peer that caught up by a snapshot did not notice that it had missed events."""
    _replace(stack, announcer.Announcer, "_missed", lambda _: lambda self, entries: 0)


@_mutation
def events_that_were_lost_with_their_host_count_as_known(stack: ExitStack) -> None:
    """The gap was too small by the events that only the lost host and this peer had."""
    known = mock.patch.object(
        announcer, "events_in_common", lambda state, epoch, version, count: count
    )
    stack.enter_context(known)


@_mutation
def a_snapshot_leaves_out_who_has_which_methods(stack: ExitStack) -> None:
    """A peer that caught up by a snapshot found nobody to call."""

    def make(encode: Any) -> Any:
        def mutant(self: method.MethodKind, state: Any) -> Any:
            part = encode(self, state)
            part.peers = {}
            return part

        return mutant

    _replace(stack, method.MethodKind, "encode", make)


@_mutation
def a_write_of_a_former_holder_is_accepted(stack: ExitStack) -> None:
    """The host did not look whether the writer still held the lock."""
    _replace(stack, patch_kind, "check_proof", lambda check: lambda *arguments: None)


@_mutation
def a_lock_stays_with_a_dead_peer(stack: ExitStack) -> None:
    """The end of a membership freed nothing."""
    _replace(stack, lock.LockKind, "left", lambda left: lambda *arguments: None)
