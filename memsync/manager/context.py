"""What the roles of one peer share: its participant, its place in the folder, its platform.

All fields are fixed when the peer starts, except those in `MUTABLE`, which name their writers.
"""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from ..options import stated
from ..replication.group_options import group_part, group_value
from ..replication.lease import Lease
from ..runtime.participant import Participant
from .folder.peer_file import PeerPlace
from .folder.records import EpochRecord
from .folder.stamps import FolderStamps
from .platform.platform import Platform
from .platform.waker import Waker
from .states import PeerStates
from .timing import Timing
from .transport.messages import PROTOCOL, Hello


class Stopped(Exception):
    """The peer stops while its driver waits; never leaves the package."""


class PeerContext:
    """One peer between its start and its stop."""

    MUTABLE: ClassVar[frozenset[str]] = frozenset({"stopping", "no_step_down_before"})

    stopping: bool
    """Set by the caller that stops the peer, by its end and by a fork; never cleared."""
    no_step_down_before: float
    """Monotonic seconds; set by a host that hands over, and by its successor."""

    def __init__(
        self,
        participant: Participant,
        platform: Platform,
        place: PeerPlace,
        waker: Waker,
        lease: Lease,
        timing: Timing,
    ) -> None:
        self.participant = participant
        self.id = participant.id
        self.options = participant.options
        self.platform = platform
        self.place = place
        self.waker = waker
        self.timing = timing
        self.states = PeerStates()
        self.lease = lease
        self.spin = participant.options.network.spin / 1e6
        """Seconds; how long a waiting writer or its host polls before it blocks."""
        self.stopping = False
        self.no_step_down_before = 0.0

    def __setattr__(self, name: str, value: object) -> None:
        if name in self.__dict__ and name not in self.MUTABLE:
            raise AttributeError(f"{name} is fixed when the peer starts")
        super().__setattr__(name, value)

    @property
    def stands_by(self) -> bool:
        """Whether this peer has not had a writer's place yet, for which it waits."""
        standby = self.participant.standby
        return standby is not None and not standby.is_over

    def watch(self) -> bool:
        """Let changes in the folder wake the driver; repeated, as the folder may be replaced.

        Returns False where a later attempt may do more.
        """
        way = self.options.network.watch
        return self.platform.watch(self.place.folder.path, self.waker.wake, way)

    def unwatch(self) -> None:
        way = self.options.network.watch
        self.platform.unwatch(self.place.folder.path, self.waker.wake, way)

    def repair(self) -> bool:
        """Restore what somebody deleted of this peer's place, and watch the folder.

        Returns whether all is in order.
        """
        self.place.repair()
        is_watched = self.watch()
        self.place.repair_key()
        return is_watched and self.place.is_whole()

    def stamps(self, *others: Path) -> FolderStamps:
        """The stamps of this peer's place, of the locks' folder and of other paths."""
        paths = [*self.place.paths(), *others]
        return FolderStamps(self.platform.files, paths, self.timing.settling)

    def check_stop(self) -> None:
        """Raise `Stopped` if the peer stops; called by waits of the driver."""
        if self.stopping:
            raise Stopped

    def adopt_group_options(self) -> None:
        """Apply the founder's options, once the state is known."""
        self.participant.adopt_group_options()
        self.lease.seconds = group_value(self.participant.state.options, "network.lease")

    def still_hosts(self, record: EpochRecord, *, if_missing: bool = True) -> bool:
        return self.place.folder.still_hosts(record.epoch, record.peer, if_missing=if_missing)

    def host_hangs(self, epoch: int) -> bool:
        """Whether the host of an epoch, whose lock is held, has been silent for a whole lease."""
        return self.is_silent(epoch, self.place.folder.last_heartbeat(epoch))

    def is_silent(self, epoch: int, heartbeat: int) -> bool:
        """Whether the host of an epoch has sent no heartbeat after this one for a whole lease.

        A host that states a long step may be silent for that much longer.
        """
        now, lease = self.platform.monotonic(), self.lease
        if not lease.observe(epoch, heartbeat, now):
            return False
        return lease.silence(now) >= lease.seconds + self.place.folder.long_step_of_host(epoch)

    def begin_step(self, size: int) -> None:
        """State that this peer handles `size` bytes of writes at once, if they are many.

        Until `end_step`, the others do not take its silence for a suspension (any thread).
        """
        if size >= self.timing.step_bytes:
            self.place.begin_step(min(size * self.timing.step_per_byte, self.timing.longest_step))

    def end_step(self, size: int) -> None:
        """The step of the calling thread is over."""
        if size >= self.timing.step_bytes:
            self.place.end_step()

    def hello(self) -> Hello:
        """This peer and its state, as it asks to be attached."""
        participant, options = self.participant, self.options
        epoch, version = participant.replica.pair
        # A peer that is not new has already compared its options with the group's.
        is_new = not participant.state.cluster_id
        return Hello(
            PROTOCOL,
            participant.name,
            self.id,
            self.platform.pid(),
            list(options.peer.roles),
            epoch,
            version,
            participant.writer.first_open,
            options.client_only,
            options.network.max_writers,
            options=group_part(stated(options)) if is_new else {},
            first_unknown=participant.replica.writes.first_unknown,
            server_only=options.server_only,
            cluster_id=participant.replica.cluster_id,
            waits=self.stands_by,
        )

    def __str__(self) -> str:
        return f"{self.participant} pid={self.platform.pid()}"
