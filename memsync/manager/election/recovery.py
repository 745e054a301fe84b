"""Recovery: a candidate fetches the best state of the group before it opens.

The candidate expects a report from each peer that was alive when the lock was taken and may hold a
state. A peer fences its old link and then reports by asking to be attached. The candidate waits
until each peer has reported or died, or until a timeout. `replication.recovery_reports` judges the
reports.
"""

from __future__ import annotations

import math
from collections import Counter, deque
from collections.abc import Callable
from typing import TypeVar

from ...document import encoded
from ...errors import HostUnresponsiveError, ProtocolError, StorageError
from ...replication.codec import frame
from ...replication.entries import Entry, SnapshotChunk
from ...replication.membership import Members, member_in_file, stands_by
from ...replication.recovery_reports import Pair, RecoveryReports
from ...replication.state import TornCopyError
from ...runtime.logs import Logger
from ...storage.host_storage import journal_of
from ...storage.loading import Reading, is_newer, journalled, load, saved_by
from ...storage.saver import stored_at
from ...storage.snapshot_file import NOTHING, SavedObject
from ..context import PeerContext
from ..host.admission import JoiningPeers
from ..host.claim import Deposed, EpochClaim
from ..platform.task import Pause, Readable, Task
from ..transport.channel import Channel, ChannelLost
from ..transport.messages import Fetch, Hello, Source, parse

log = Logger("memsync.election")

T = TypeVar("T")


class Recovery:
    """The recovery of one candidate (driver only)."""

    def __init__(self, ctx: PeerContext, claim: EpochClaim, joining: JoiningPeers) -> None:
        self._ctx = ctx
        self._participant = ctx.participant
        self._claim = claim
        self._joining = joining
        self._platform = ctx.platform
        self._reported: dict[str, tuple[Channel, Hello]] = {}
        folder, replica = ctx.place.folder, ctx.participant.replica
        peers = folder.living_peers()
        peers.pop(ctx.id, None)
        self._pids = {peer: content.get("pid") for peer, content in peers.items()}
        self.living = {*peers, ctx.id}
        # A peer whose file says epoch 0 has never asked to be attached, so it has no state.
        holders = {peer for peer, content in peers.items() if content.get("epoch") != 0}
        # A member without a file may be alive: somebody may have deleted the file.
        members = [peer for peer in ctx.participant.state.members if peer not in self.living]
        holders |= {peer for peer in members if folder.is_alive(peer) is None}
        self._reports = RecoveryReports(ctx.id, replica.pair, holders, replica.cluster_id)
        self._patience = ctx.options.network.recovery  # seconds left to wait for the unreported
        self._long_steps = 0.0  # seconds that it has waited for long steps beyond its patience
        self._renewals = 0  # how often the end of a long step renewed its patience
        self._in_step = False
        self._next_repair = self._platform.monotonic() + ctx.timing.repair_check
        self._has_waited = False  # for survivors of a later epoch; once is enough
        self._broke_off: Counter[str] = Counter()  # failures, by source
        # If there was a host before, survivors may be restoring their deleted files.
        holds_nothing = (
            not holders and replica.pair == (0, 0) and not self._participant.state.version
        )
        may_be_survivors = holds_nothing and folder.last_opened() > 0
        self._survivors_patience = ctx.timing.survivors if may_be_survivors else 0.0

    def take_reported(self) -> list[tuple[Channel, Hello]]:
        """The peers that have reported; the host attaches them."""
        reported, self._reported = self._reported, {}
        return list(reported.values())

    def close(self) -> None:
        """Close the connections that `take_reported` has not returned."""
        for channel, _ in self.take_reported():
            channel.close()

    def run(self) -> Task[None]:
        """Collect the reports and catch up with the best; without any state, found the object.

        Raises `Deposed` when another peer has taken the next epoch meanwhile.
        """
        yield from self._collect()
        while True:
            peer, pair = self._reports.best()
            if self._may_be_behind(pair):
                self._survivors_patience = self._ctx.options.network.recovery
                yield from self._collect()
                continue
            if peer == self._ctx.id:
                yield from self._read_file()
                yield from self._read_journal()
                break
            if (yield from self._fetch(peer)):
                replica = self._participant.replica
                self._reports.advanced(replica.pair, replica.cluster_id)
            else:
                self._forget(peer)
                yield from self._collect()
        yield from self._conclude(pair)

    def _may_be_behind(self, pair: Pair) -> bool:
        """Whether to wait, once, for survivors of a later epoch than that of the best pair.

        A survivor whose file was deleted stays unknown until it has restored the file.
        """
        has_waited, self._has_waited = self._has_waited, True
        return not has_waited and 0 < pair[0] < self._ctx.place.folder.last_opened()

    def unreported(self) -> Members:
        """The living peers without a report that may have places of which this peer does not know.

        A peer that stands by says so in its file until it takes its place (`Driver`).
        """
        unreported = self._reports.unreported
        living = self._ctx.place.folder.living_peers() if unreported else {}
        members = self._participant.state.members
        return {
            peer: member_in_file(peer, content)
            for peer, content in living.items()
            if peer in unreported
            and not content.get("standsBy")
            and (peer not in members or stands_by(members[peer]))
        }

    def _conclude(self, pair: Pair) -> Task[None]:
        folder, unreported = self._ctx.place.folder, self._reports.unreported
        # A living peer restores a deleted file, so a peer without a file has left by now.
        alive = sorted(peer for peer in unreported if folder.is_alive(peer))
        holds_nothing = pair == (0, 0) and not self._participant.state.version
        if alive and holds_nothing:
            names = ", ".join(f"{peer} (process {self._pids.get(peer)})" for peer in alive)
            raise HostUnresponsiveError(
                f"the object {self._participant.name!r} is held by {names}, which does not answer; "
                "continue or end that process, then start again",
                pid=self._pids.get(alive[0]),
            )
        if unreported:
            missing = ",".join(f"{peer}:{self._pids.get(peer)}" for peer in sorted(unreported))
            log.warning("opening without all reports %s missing=%s", self._ctx, missing)
        if holds_nothing:
            saved = yield from self._load()
            cluster_id = self._platform.new_cluster_id()
            self._participant.bootstrap(cluster_id, saved.data, saved.pair)
        elif self._participant.state.torn:
            log.warning("accepting an interrupted copy %s: no other peer has the object", self._ctx)
            self._participant.replica.restart()

    def _load(self) -> Task[SavedObject]:
        """What the file holds, if this peer states one; raises `StorageError`."""
        if self._ctx.options.file.path is None:
            return NOTHING
        return (yield from self._read(lambda: load(self._participant)))

    def _read_file(self) -> Task[None]:
        """Go on from the file if it is ahead of the best state: all that had more may be dead."""
        participant = self._participant
        if stored_at(participant) is None or not participant.replica.cluster_id:
            return
        until = self._platform.monotonic() + self._ctx.timing.file
        try:
            if (yield from self._read(lambda: is_newer(participant), until)):
                saved = yield from self._read(lambda: saved_by(participant))
                if saved.data is not None and saved.pair > participant.replica.pair:
                    log.warning("going on from the file %s version=%s", self._ctx, saved.pair[1])
                    participant.adopt(saved.data, saved.pair)
        except StorageError as error:
            log.error("recovering without the file %s: %s", self._ctx, error)

    def _read_journal(self) -> Task[None]:
        """Apply what the journal has behind the best state: nobody may hold it who lives."""
        participant, path = self._participant, journal_of(self._participant)
        if path is None or participant.state.torn:
            return
        pair, cluster_id = participant.replica.pair, participant.replica.cluster_id
        try:
            entries = yield from self._read(lambda: journalled(path, pair, cluster_id))
        except StorageError as error:
            log.error("recovering without the journal %s: %s", self._ctx, error)
            return
        for entry in entries:
            participant.apply(entry, bytes(encoded(entry)))
        participant.publish(entries)

    def _read(self, read: Callable[[], T], until: float = math.inf) -> Task[T]:
        """Read on another thread, which the disk may keep waiting.

        Raises `StorageError` where that takes until `until` (monotonic seconds).
        """
        reading = Reading(read, self._ctx.waker.wake)
        while not reading.is_over:
            self._check()
            if self._platform.monotonic() > until:
                raise StorageError(f"{stored_at(self._participant)}: it is not read in time")
            yield Pause(self._ctx.waker, self._ctx.timing.fetch_check)
        return reading.result()

    # -- reports ---------------------------------------------------------------------------------

    def _collect(self) -> Task[None]:
        """Take reports until none is missing, or until the timeout.

        Only time in which this process ran is counted: no peer can report to a frozen process.
        """
        timing, folder = self._ctx.timing, self._ctx.place.folder
        checked_at = self._platform.monotonic()
        while True:
            self._check()
            while self._joining:
                self._replace(*self._joining.take())
            for peer in self._reports.unreported:
                if folder.is_alive(peer) is False:
                    self._reports.lost(peer)
                    self.living.discard(peer)
            now = self._platform.monotonic()
            awake, checked_at = min(now - checked_at, timing.awake), now
            if self._survivors_patience > 0:
                self._survivors_patience -= awake
                self._expect_survivors()
            elif not self._reports.unreported:
                return
            elif self._patience > 0:
                self._patience -= awake
            elif not self._wait_for_long_steps(awake):
                return
            yield Pause(self._ctx.waker, timing.report_check)

    def _wait_for_long_steps(self, awake: float) -> bool:
        """Whether to wait for peers that could not report yet, because they apply large writes.

        Their silence does not mean that they are suspended (see `PeerPlace.begin_step`).
        """
        folder, timing = self._ctx.place.folder, self._ctx.timing
        stated = max(map(folder.long_step, self._reports.unreported))
        was_in_step, self._in_step = self._in_step, stated > self._long_steps
        if self._in_step:
            self._long_steps += awake
            return True
        if was_in_step and not stated and self._renewals < timing.breaks:
            self._renewals += 1
            self._patience = self._ctx.options.network.recovery
            return True
        return False

    def _expect_survivors(self) -> None:
        for peer, content in self._ctx.place.folder.living_peers().items():
            is_known = peer == self._ctx.id or peer in self._reported
            if content.get("epoch") != 0 and not is_known:
                self._pids[peer] = content.get("pid")
                self.living.add(peer)
                self._reports.expect(peer)

    def _check(self) -> None:
        """Send the heartbeat and repair the files; raises `Stopped` and `Deposed`."""
        self._ctx.check_stop()
        now = self._platform.monotonic()
        self._claim.heartbeat(now)
        if now >= self._next_repair:
            self._next_repair = now + self._ctx.timing.repair_check
            self._claim.check()
            self._claim.repair()
        if self._claim.is_lost():
            raise Deposed

    def _replace(self, channel: Channel, hello: Hello) -> None:
        peer = hello.peer
        old = self._reported.pop(peer, None)
        if old is not None:
            old[0].close()
        self._reported[peer] = (channel, hello)
        self.living.add(peer)
        self._pids[peer] = hello.pid
        self._reports.report(peer, (hello.epoch, hello.version), hello.cluster_id)

    def _forget(self, peer: str) -> None:
        channel, _ = self._reported.pop(peer)
        channel.close()
        if self._ctx.place.folder.is_alive(peer) is not False:
            self._reports.expect(peer)
            self._broke_off[peer] += 1
            if self._broke_off[peer] <= self._ctx.timing.breaks:
                self._patience = self._ctx.options.network.recovery
        else:
            self._reports.lost(peer)
            self.living.discard(peer)

    # -- the best state --------------------------------------------------------------------------

    def _fetch(self, peer: str) -> Task[bool]:
        """Catch up with a peer's state; False when that broke off."""
        if self._platform.buggify("a source breaks off"):
            return False
        channel, hello = self._reported[peer]
        replica = self._participant.replica
        epoch, version = replica.pair if replica.cluster_id == hello.cluster_id else (0, 0)
        try:
            channel.queue(frame(Fetch(epoch, version, self._reports.oldest(hello.cluster_id))))
            yield from self._take(channel, hello.cluster_id)
            return True
        except TornCopyError as error:  # of this copy: the next try fetches all
            self._participant.tear(error)
            return False
        except (ChannelLost, ProtocolError) as error:
            log.warning("cannot fetch the state of peer %s: %s", peer, error)
            return False

    def _take(self, channel: Channel, cluster_id: str) -> Task[None]:
        arrived: deque[tuple[object, bytes]] = deque()
        yield from self._wait_for_more(channel, arrived)
        source = arrived.popleft()[0]
        if not isinstance(source, Source):
            raise ProtocolError(f"a source sends Source first, not {type(source).__name__}")
        participant = self._participant
        entries: list[Entry] = []
        wanted = cluster_id, (source.epoch, source.version)
        while (participant.replica.cluster_id, participant.replica.pair) != wanted:
            if not arrived:
                yield from self._wait_for_more(channel, arrived)
            message, body = arrived.popleft()
            if isinstance(message, Entry):
                participant.apply(message, body)
                entries.append(message)
            elif isinstance(message, SnapshotChunk):
                participant.install(message)
            else:
                raise ProtocolError(f"a source does not send {type(message).__name__}")
        participant.publish(entries)

    def _wait_for_more(self, channel: Channel, arrived: deque[tuple[object, bytes]]) -> Task[None]:
        """Append at least one message that arrives, with the body of its frame."""
        patience = self._platform.monotonic() + self._ctx.timing.fetch
        while not arrived:
            left = patience - self._platform.monotonic()
            if left <= 0:
                raise ChannelLost("the source sent nothing for too long")
            self._check()
            channel.flush()
            if (yield Readable(channel, min(left, self._ctx.timing.fetch_check))):
                patience = self._platform.monotonic() + self._ctx.timing.fetch
                arrived.extend((parse(b), bytes(b)) for b in channel.receive())
