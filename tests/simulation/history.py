"""What happened in a run, as the checkers need it; only they say what is right."""

from __future__ import annotations

import sys
import zlib
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Future
from functools import wraps
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar, cast

import msgspec

from memsync.errors import MemSyncError
from memsync.manager.client.link import Link
from memsync.manager.host.host import Host
from memsync.manager.host.invariants import check_host_invariants
from memsync.manager.role import Role
from memsync.manager.transport.messages import parse
from memsync.replication.codec import HEADER, body_length
from memsync.replication.entries import Decision, Entry, Propose, SnapshotChunk
from memsync.replication.invariants import check_invariants
from memsync.replication.sequencer import Gap
from memsync.runtime.awaited_write import AwaitedWrite

if TYPE_CHECKING:
    from .network import Socket
    from .process import Process

RECOVERY = 1.5  # seconds

_encode = msgspec.msgpack.Encoder().encode


F = TypeVar("F", bound=Callable[..., Any])


def _untraced(method: F) -> F:
    """What the simulation does by itself is not interrupted (see `Thread.trace`)."""

    @wraps(method)
    def untraced(*arguments: Any) -> Any:
        tracing = sys.gettrace()
        sys.settrace(None)
        try:
            return method(*arguments)
        finally:
            sys.settrace(tracing)

    return cast("F", untraced)


class Write:
    """One write and its outcome; once it is applied, `tag` is in the log of its writer."""

    def __init__(self, tag: str, who: str, peer: str, kind: str, update: Any, w: Any) -> None:
        self.tag = tag
        self.who = who
        self.peer = peer
        self.kind = kind
        self.update = update
        self.w = w
        self.is_tagged = True
        self.emits = False
        self.outcome = "pending"  # ok, not_applied, unknown, applied
        self.error = ""
        self.version = 0
        self.epoch = 0  # of its peer when it was acknowledged
        self.cluster_id = ""
        self.at = 0.0  # when the outcome was known
        self.reads_itself = True
        self.holders: frozenset[str] = frozenset()  # living processes, when it was acknowledged
        self.copies = 0  # processes that held it then, including dead ones
        self.others = 0  # how many others were attached then
        self.number = 0  # among those of its peer
        self.is_abandoned = False  # its user is dead, or was interrupted


class Observation(NamedTuple):
    """What a process shows after a step in which that changed."""

    who: str
    cluster_id: str
    pair: tuple[int, int]
    n: int
    rolled_back: int  # calls of that callback so far
    writers: int  # in the members that it knows
    doubled: bool  # a tag occurs twice


class Applied(NamedTuple):
    """An entry that a process passed to its callbacks."""

    who: str
    cluster_id: str
    epoch: int
    version: int
    digest: int


class Heard(NamedTuple):
    """What a process announced, in this order.

    A patch, an event with its tag, a number of missed events, or that the process has joined.
    """

    who: str
    cluster_id: str
    what: str  # patch, event, missed, joined
    pair: tuple[int, int]
    fact: Any = None


class Opening(NamedTuple):
    """A host opens its epoch; `took_part` are the processes whose state it could have.

    Those `passed_over` could have taken part: they lived, had a copy, and ran all the time.
    """

    at: float
    who: str
    cluster_id: str
    epoch: int
    epochs: tuple[tuple[int, int], ...]
    took_part: frozenset[str]
    passed_over: frozenset[str]
    beside: frozenset[str]  # living processes with a copy of another cluster


class Decided(NamedTuple):
    """What a host decided about a proposal; `version` is the one before."""

    cluster_id: str
    epoch: int
    version: int
    peer: str
    proposal: Propose
    outcome: str  # entry, event (one that changes no value), nothing, or the error's code


class Watched(NamedTuple):
    """A host begins to watch a write concern; `wanted` living members must hold the write."""

    at: float
    cluster_id: str
    epoch: int
    peer: str
    number: int
    wanted: int


class FailOver:
    """From the moment in which the host dies or stops, or who is about to replace it dies.

    It is over when another peer hosts and the writes that waited then have their outcomes.
    """

    def __init__(self, at: float, *, is_disturbed: bool) -> None:
        self.at = at
        self.is_disturbed = is_disturbed  # somebody is frozen, or a link is cut or stopped
        self.hosted_at = 0.0
        self.ended_at = 0.0
        self.waiting: list[Write] = []


class Final(NamedTuple):
    """A peer when all is quiet."""

    who: str
    peer: str
    cluster_id: str
    state: bytes | bytearray
    live_is_confirmed: bool
    pending: int
    status: str
    document: dict[str, Any]
    present: dict[str, dict[str, Any]]
    dead: frozenset[str]  # peers that have been dead for a while, and that every host can know dead
    methods: dict[str, list[str]]  # of each member
    locks: dict[str, Any]  # see `lock_facts`


def _check_rows(document: dict[str, Any]) -> None:
    """Assert that no index has named another element than its writer saw (see `workload`)."""
    for row in document.get("rows", ()):
        assert row["v"][0] == row["id"], f"a write for row {row['v'][0]} is in row {row['id']}"


class History:
    """The record of one run."""

    def __init__(self) -> None:
        self.writes: list[Write] = []
        self.observations: list[Observation] = []
        self.applied: list[Applied] = []
        self.heard: list[Heard] = []
        self.connected: set[str] = set()
        self.present: dict[str, dict[str, Any]] = {}  # as the processes have announced it
        self.openings: list[Opening] = []
        self.decided: list[Decided] = []
        self.watched: list[Watched] = []
        self.finals: list[Final] = []
        self.fail_overs: list[FailOver] = []
        self._fail_over: FailOver | None = None  # the one that is under way
        self.survivors: set[str] = set()  # clusters of those that stay, when the faults are over
        self.deaths: dict[str, float] = {}
        self.deleted: list[str] = []  # paths of files that a fault has deleted
        self.rolled_back: Counter[str] = Counter()
        self.failures: list[tuple[str, bool, str, str]] = []  # who, whether it was up, what
        self.writer_limit: int | None = None
        self.is_strict = False
        self.is_last = False
        self.all_peers: list[Process] = []
        self.most_writers = 0
        self.unsettled: list[str] = []  # processes that did not become quiet
        self.ends: Counter[str] = Counter()  # roles that began, and why they ended
        self.logged: list[str] = []  # warnings and errors
        self.broken: list[str] = []  # invariants
        self._last: dict[str, Observation] = {}
        self._checked: dict[str, Any] = {}
        self._roles: dict[str, str] = {}

    # -- what the processes do -------------------------------------------------------------------

    @_untraced
    def announced(self, process: Process, event: str, payload: Any) -> None:
        """A callback of the user is called."""
        if not process.alive:
            return
        if event == "received_patches":
            cluster_id = process.participant.state.cluster_id
            for each in payload:
                digest = zlib.crc32(_encode([each["peer"], each["patch"]]))
                pair = each["epoch"], each["version"]
                self.applied.append(Applied(process.name, cluster_id, *pair, digest))
                self.heard.append(Heard(process.name, cluster_id, "patch", pair))
        elif event == "event":
            pair, fact = (payload.epoch, payload.version), [payload.name, list(payload.args)]
            self._hears(process, "event", pair, fact)
        elif event == "events missed":
            self._hears(process, "missed", process.participant.state.pair, payload)
            self.ends["events are missed"] += 1
        elif event == "presence":
            peer, fields = payload
            self.present.setdefault(process.name, {})[peer] = fields
        elif event == "rolled_back":
            self.rolled_back[process.name] += 1
        elif event == "disconnected":
            self.ends[f"{self._roles[process.name]} ends: {payload[:40]}"] += 1
        elif event == "connected":
            if process.name not in self.connected:
                announcer = process.participant.announcer  # a standby joins before its batch
                has_stood_by = process.name in self._roles
                pair = process.participant.state.pair
                begun = announcer._epoch, announcer._version
                self._hears(process, "joined", begun if has_stood_by else pair)
            self.connected.add(process.name)

    @_untraced
    def role_begins(self, process: Process, role: Role) -> None:
        """A process has a role; its user is told, unless it stands by."""
        if not process.alive:
            return
        stands_by = ", and stands by" if process.participant.stands_by() else ""
        epoch = process.participant.state.epoch
        process.world.note(process.name, f"is {role.status} of {epoch}{stands_by}")
        self._roles[process.name] = role.status
        self.ends[f"becomes {role.status}"] += 1
        self.ends["stands by"] += bool(stands_by)
        if isinstance(role, Host):
            self._opened(process, role)

    def _hears(self, process: Process, what: str, pair: tuple[int, int], fact: Any = None) -> None:
        cluster_id = process.participant.state.cluster_id
        self.heard.append(Heard(process.name, cluster_id, what, pair, fact))

    def _opened(self, process: Process, host: Host) -> None:
        self._somebody_hosts(process)
        there = {p.name for p in self.all_peers if p.participant.id in host.clients}
        if any(p.leaving and p.hosts for p in self.all_peers if p is not process):
            # A host that hands over has everything: nothing may be lost that any peer has.
            there |= {p.name for p in self.all_peers if p.is_up and not p.frozen}
        state = process.participant.state
        there.add(process.name)
        passed_over = {
            p.name
            for p in self.all_peers
            if p.alive and not p.ended and p.name in self._roles
            if p.name not in there and p.was_awake_for(RECOVERY)
        }
        self.openings.append(
            Opening(
                process.world.now,
                process.name,
                state.cluster_id,
                host.epoch,
                tuple(state.epochs),
                frozenset(there),
                frozenset(passed_over),
                frozenset(p.name for p in self.all_peers if _is_of_another(p, state.cluster_id)),
            )
        )
        sequencer = host.ordering.sequencer
        propose = sequencer.propose

        def recorded(peer: str, proposal: Propose) -> Any:
            version = sequencer.state.version
            is_next = proposal.number > sequencer.last(peer)
            result = propose(peer, proposal)
            if isinstance(result, Gap) or not is_next:
                return result
            outcome = "entry"
            if isinstance(result, Decision):
                outcome = "nothing" if result.error is None else str(result.error[0])
            elif result.entry.kind != "patch" or not result.entry.body:
                outcome = "event"
            at = state.cluster_id, host.epoch, version
            self.decided.append(Decided(*at, peer, proposal, outcome))
            return result

        concerns = host.ordering.concerns
        watch = concerns.track

        def watched(
            writer: str, number: int, version: int, w: Any, journal: bool, members: Any
        ) -> Any:
            if (writer, number) not in concerns._tracked:
                living = sum(
                    p.alive and p.participant.id in members for p in self.all_peers if not p.ended
                )
                wanted = living // 2 + 1 if w == "majority" else int(w or 1)
                at = process.world.now, state.cluster_id, host.epoch
                self.watched.append(Watched(*at, writer, number, wanted))
            return watch(writer, number, version, w, journal, members)

        sequencer.propose = recorded  # type: ignore[method-assign]
        concerns.track = watched  # type: ignore[method-assign]

    def stepped(self, process: Process) -> None:
        """A step of a process is over: its invariants hold, and somebody reads."""
        participant = process.participant
        self._check(process)
        live = participant.replica.view
        shown, n, told = (
            participant.replica.view_pair,
            live.get("n", 0),
            self.rolled_back[process.name],
        )
        last = self._last.get(process.name)
        if last is not None and (shown, n, told) == (last.pair, last.n, last.rolled_back):
            return
        look = Observation(
            process.name,
            participant.replica.view_cluster_id,
            shown,
            n,
            told,
            sum("writer" in member["roles"] for member in participant.state.members.values()),
            False,
        )
        tags = live.get("log", {}).get(process.name, ())
        if len(set(tags)) != len(tags):
            look = look._replace(doubled=True)
        self._last[process.name] = look
        self.observations.append(look)
        if self.writer_limit is not None:
            up = sum(
                1
                for p in self.all_peers
                if p.is_up
                and p.started
                and "writer" in p.participant.options.peer.roles
                and not p.ended
            )
            self.most_writers = max(self.most_writers, up)

    def _check(self, process: Process) -> None:
        """Assert the invariants of the code under simulation, after a step that changed something.

        A thread that is preempted may be in the middle of a change.
        """
        replica, role = process.participant.replica, process.driver.role
        writes = replica.writes
        seen = replica.state.pair, replica.view_pair, writes.next_number, len(writes.pending)
        if process.is_preempted or self._checked.get(process.name) == seen:
            return
        self._checked[process.name] = seen
        try:
            check_invariants(replica)
            if not replica.state.torn:
                _check_rows(replica.state.document)
            if isinstance(role, Host):
                check_host_invariants(role, process.participant.state.members)
        except AssertionError as error:
            self.broken.append(f"{process.name} at {process.world.now - 1000:.6f}: {error}")

    def ended(self, process: Process) -> None:
        """A process is dead or has left."""
        self._goes_on_without(process)
        self.deaths[process.name] = process.world.now
        failure = process.driver.failure
        if process.alive and failure is not None:
            was_up = process.name in self._roles
            self.failures.append((process.name, was_up, type(failure).__name__, repr(failure)))

    # -- fail-overs ------------------------------------------------------------------------------

    def host_goes(self, process: Process) -> None:
        """A host is killed, or begins to stop."""
        others = (p for p in self.all_peers if p is not process)
        if not any(p.may_take_over for p in others):
            self._fail_over = None
            return
        is_disturbed = any(p.is_disturbed for p in self.all_peers)
        # A dead peer without its file stays a member for some seconds, and concerns wait for it.
        living = {p.participant.id for p in self.all_peers if p.alive and p is not process}
        gone = {process.participant.id, *process.participant.state.members} - living
        is_disturbed |= any(peer in path for peer in gone for path in self.deleted)
        self._fail_over = FailOver(process.world.now, is_disturbed=is_disturbed)

    def disturbed(self) -> None:
        """A process is frozen or goes on, a link is cut, stopped or resumed."""
        if self._fail_over is not None:
            self._fail_over.is_disturbed = True

    def _somebody_hosts(self, process: Process) -> None:
        fail_over = self._fail_over
        if fail_over is None or fail_over.hosted_at:
            return
        fail_over.hosted_at = process.world.now
        living = {p.name for p in self.all_peers if p.alive and not p.ended and not p.leaving}
        fail_over.waiting = [
            write
            for write in self.writes
            if write.outcome == "pending" and write.who in living and not write.is_abandoned
        ]
        self._end_fail_over(process.world.now)

    def _end_fail_over(self, now: float) -> None:
        fail_over = self._fail_over
        if fail_over is None or not fail_over.hosted_at:
            return
        if all(write.outcome != "pending" or write.is_abandoned for write in fail_over.waiting):
            fail_over.ended_at = now
            self.fail_overs.append(fail_over)
            self._fail_over = None

    def give_up_fail_over(self, now: float) -> None:
        """The run is over, and so is the fail-over that was under way."""
        if self._fail_over is not None:
            self._fail_over.ended_at = now
            self.fail_overs.append(self._fail_over)

    def undisturbed_fail_overs(self) -> list[FailOver]:
        """Those during which nobody was frozen and all links worked."""
        return [each for each in self.fail_overs if not each.is_disturbed]

    def _goes_on_without(self, process: Process) -> None:
        """A process has died or left: a fail-over that is under way begins again."""
        for write in self.writes:
            if write.who == process.name:
                write.is_abandoned = True
        fail_over = self._fail_over
        if fail_over is None:
            return
        if not any(p.may_take_over or p.hosts for p in self.all_peers if p is not process):
            self._fail_over = None
        elif not fail_over.hosted_at:
            fail_over.at = process.world.now
        else:
            self._end_fail_over(process.world.now)

    # -- what the users see -----------------------------------------------------------------------

    def invoked(self, process: Process, write: Write, future: Future[int]) -> None:
        """A write is on its way."""
        self.writes.append(write)
        future.add_done_callback(lambda done: self._completed(process, write, done))

    def _completed(self, process: Process, write: Write, future: Future[int]) -> None:
        error = future.exception()
        version = future.result() if error is None else None
        self.decided_as(process, write, version, error)

    def follow(self, process: Process, write: Write, awaited: AwaitedWrite) -> None:
        """A thread waits for a write: note the outcome at the moment when it can see it."""
        if awaited.done:
            self.decided_as(process, write, awaited.version, awaited.error)
            return
        decided_as = self.decided_as

        class Recorded(AwaitedWrite):
            __slots__ = ()

            def resolve(self, version: int, error: MemSyncError | None) -> None:
                was_done = self.done
                super().resolve(version, error)
                if not was_done and write.outcome == "pending":
                    decided_as(process, write, version, error)

        awaited.__class__ = Recorded  # an instance with slots has no methods of its own

    def user_failed(self, process: Process, write: Write, error: BaseException) -> None:
        """A write has raised what no write raises."""
        self.failures.append((process.name, True, type(error).__name__, f"{write.tag}: {error!r}"))

    @_untraced
    def decided_as(
        self, process: Process, write: Write, version: int | None, error: BaseException | None
    ) -> None:
        """The outcome of a write is known to its writer."""
        if not process.alive:
            return  # nobody is there to hear it
        world = process.world
        write.at = world.now
        write.cluster_id = process.participant.state.cluster_id
        if error is not None:
            assert isinstance(error, MemSyncError), error
            write.outcome, write.error = error.outcome, type(error).__name__
            epoch = process.participant.state.epoch
            write.holders = frozenset(
                p.name
                for p in self.all_peers
                if p.alive and not p.ended and p.participant.state.epoch == epoch
                if error.outcome == "not_applied" or holds(p, write, epoch)
            )
            world.note(process.name, f"write {write.tag} is {write.outcome}: {write.error}")
            self._end_fail_over(world.now)
            return
        assert version is not None
        write.outcome, write.version = "ok", version
        self._end_fail_over(world.now)
        write.epoch = process.participant.state.epoch
        world.note(process.name, f"write {write.tag} is acknowledged at {write.version}")
        if not write.is_tagged:
            return
        write.reads_itself = _has(process.participant.replica.view, write)
        epoch = process.participant.state.epoch
        write.copies = sum(holds(p, write, 0) for p in self.all_peers)
        write.holders = frozenset(
            p.name for p in self.all_peers if p.alive and not p.ended and holds(p, write, epoch)
        )
        role = process.driver.role
        if isinstance(role, Host):
            write.others = len([a for a in role.clients.values() if not a.is_slow])
        elif isinstance(role, Link):
            write.others = 1


def _is_of_another(process: Process, cluster_id: str) -> bool:
    is_there = process.alive and not process.ended and not process.has_left()
    return is_there and process.participant.replica.cluster_id not in ("", cluster_id)


def _has(document: dict[str, Any], write: Write) -> bool:
    return write.tag in document.get("log", {}).get(write.who, ())


def holds(process: Process, write: Write, epoch: int) -> bool:
    """Whether a process has a write in its state, or in bytes that have come to it.

    A state of an earlier epoch is no copy: an earlier host may have ordered the write as well, and
    died before it could answer.
    """
    if process.participant.state.epoch >= epoch and _has(process.participant.state.document, write):
        return True
    mark = write.tag.encode()
    return any(
        _is_unread(mark, _unhandled(sock))
        for sock in process.sockets
        if not (sock.closed and process.alive)
    )


def _unhandled(sock: Socket) -> bytes:
    """What has come to a socket's process, or its kernel, and is in no message yet."""
    begun = sock.channel.incomplete if sock.channel else b""
    return begun + sock.in_hand + sock.inbound.buffer


def _is_unread(mark: bytes, stream: bytes) -> bool:
    """Whether something is in a stream, in a whole frame (or a whole snapshot)."""
    position = stream.find(mark)
    if position < 0:
        return False
    start = 0
    while start + HEADER <= len(stream):
        end = start + HEADER + body_length(stream, start)
        if end > len(stream):
            return False
        if end > position:
            message = parse(stream[start + HEADER : end])
            if isinstance(message, Entry):
                return True
            if not isinstance(message, SnapshotChunk):
                return False
            if message.last:
                return True
        start = end
    return False
