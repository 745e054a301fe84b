"""What the roles of one peer share: who it is, where it stands, and what it runs on.

Everything here is fixed when the peer starts, but for the fields in `MUTABLE`, each of which says
who sets it.
"""

from __future__ import annotations

from typing import Any, ClassVar

from ..options import Options, stated
from ..replication.group_options import group_part, group_value
from ..replication.lease import Lease
from ..runtime.participant import Participant
from .folder.peer_file import PeerPlace
from .folder.records import EpochRecord
from .platform.platform import Platform
from .platform.waker import Waker
from .states import PeerStates
from .timing import Timing
from .transport.messages import PROTOCOL, Hello


class Stopped(Exception):
    """The peer ends while its driver waits; never leaves the package."""


class PeerContext:
    """One peer between its start and its stop."""

    MUTABLE: ClassVar[frozenset[str]] = frozenset({"stopping", "no_step_down_before"})

    stopping: bool
    """Set once, by whoever has the peer stop."""
    no_step_down_before: float
    """Monotonic seconds; set by a host that hands over, and by a host that took over."""

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
        self.platform = platform
        self.place = place
        self.waker = waker
        self.timing = timing
        self.states = PeerStates()
        self.lease = lease
        self.stopping = False
        self.no_step_down_before = 0.0

    def __setattr__(self, name: str, value: object) -> None:
        if name in self.__dict__ and name not in self.MUTABLE:
            raise AttributeError(f"{name} is fixed when the peer starts")
        super().__setattr__(name, value)

    @property
    def id(self) -> str:
        """The peer's id."""
        return self.participant.id

    @property
    def options(self) -> Options:
        """The peer's options."""
        return self.participant.options

    def watch(self) -> None:
        """Have the waker called when something changes in the folder; to be repeated.

        The folder may be another one than before, if somebody deleted it.
        """
        way = self.options.network.watch
        self.platform.watch(self.place.folder.path, self.waker.wake, way)

    def unwatch(self) -> None:
        """Undo `watch`."""
        way = self.options.network.watch
        self.platform.unwatch(self.place.folder.path, self.waker.wake, way)

    def repair(self) -> None:
        """Make again what somebody deleted of this peer's in the folder."""
        self.place.repair()
        self.watch()
        self.place.repair_key()

    def check_stop(self) -> None:
        """Raise `Stopped` when the peer is to end (for the driver's waits)."""
        if self.stopping:
            raise Stopped

    def adopt_group_options(self) -> None:
        """The state is known: its founder's options are this peer's, too."""
        self.participant.adopt_group_options()
        self.lease.seconds = group_value(self.participant.state.options, "network.lease")

    def still_reigns(self, record: EpochRecord, *, if_missing: bool = True) -> bool:
        """Whether the host of an epoch lives and is not replaced."""
        return self.place.folder.still_reigns(record.epoch, record.peer, if_missing=if_missing)

    def host_hangs(self, epoch: int) -> bool:
        """Whether the host of an epoch, whose lock is held, has been silent for a whole lease."""
        heartbeat = self.place.folder.last_heartbeat(epoch)
        return self.lease.observe(epoch, heartbeat, self.platform.monotonic())

    def hello(self) -> Hello:
        """What this peer says of itself and of what it holds."""
        participant, options = self.participant, self.options
        epoch, version = participant.replica.pair
        is_new = not participant.state.cluster_id  # else its options were compared, or give way
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
        )

    def member(self) -> dict[str, Any]:
        """This peer as the group remembers it."""
        return self.hello().member()

    def __str__(self) -> str:
        """What a line of the log says of the peer."""
        return f"{self.participant} pid={self.platform.pid()}"
