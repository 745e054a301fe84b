"""What this peer states of itself in the directory of calls (see ``kinds/method.py``).

A peer states a record when it has methods, or when the directory says that somebody wants to call
it. The state may lose a record: the object of another cluster may replace this peer's, for example.
So each change of the directory is compared with what this peer wants to have stated.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from ..clocks import monotonic
from ..errors import MemSyncError, WriteTimeoutError
from ..replication.kinds.method import Address, MethodKind, PeerRecord, directory, stating
from ..runtime.call import Call as Write
from ..runtime.logs import Logger
from ..runtime.native import Lock
from ..runtime.own_threads import OwnThread

if TYPE_CHECKING:
    from ..runtime.participant import Participant
    from .functions import Method
    from .road import Road

log = Logger("memsync.rpc")

STATE_SECONDS = 30.0  # for a record to be acknowledged


class OwnRecord:
    """The record of one peer, and the listener that it names."""

    def __init__(self, participant: Participant, road: Road) -> None:
        self.methods: Mapping[str, Method] = {}
        self._participant = participant
        self._road = road
        self._address: Address | None = None
        self._lock = Lock()  # held while the listener is opened and the record is stated
        self._is_checking = False
        self._is_closed = False

    def wanted(self) -> PeerRecord:
        """The record that the directory should have."""
        flags = {name: method.flags for name, method in self.methods.items()}
        return PeerRecord(self._address, flags, self._participant.options.rpc.pickles)

    def change(self, methods: Mapping[str, Method], seconds: float) -> None:
        """Offer these methods, and wait until the group knows; raises `RendezvousError`.

        A record that is not acknowledged in time is stated all the same.
        """
        with self._lock:
            self.methods = methods
            if methods and self._address is None:
                self._address = self._road.listen()
            try:
                self._state(seconds)
            except WriteTimeoutError as error:
                log.warning("the methods are not known yet: %s", error)

    def check(self) -> None:
        """The directory has changed (any thread, the role's included; never blocks)."""
        if self._is_settled() or self._is_closed or self._is_checking:
            return
        self._is_checking = True
        try:
            OwnThread(self._restate, "memsync-methods").start()
        except RuntimeError as error:  # the next change tries again
            self._is_checking = False
            log.warning("no thread is left to state the methods: %s", error)

    def close(self) -> None:
        """The peer stops: state nothing more."""
        self._is_closed = True

    def _found(self) -> PeerRecord:
        return directory(self._participant.state).peers.get(self._participant.id) or PeerRecord()

    def _is_settled(self) -> bool:
        return self._found() == self.wanted()

    def _restate(self) -> None:
        """Open the listener if it is wanted, and state the record; on a thread of its own."""
        deadline = monotonic() + STATE_SECONDS
        try:
            while not self._is_settled() and not self._is_closed:
                self._is_checking = True
                with self._lock:
                    if self._found().wanted:
                        self._address = self._road.listen()
                    self._state(deadline - monotonic())
                self._is_checking = False  # what changes from here on is checked by the loop
        except MemSyncError as error:
            if not self._is_closed:
                log.warning("the methods of this peer cannot be stated: %s", error)
        finally:
            self._is_checking = False

    def _state(self, seconds: float) -> None:
        record = self.wanted()
        if record == PeerRecord() and self._found() == record:
            return
        write = Write(deadline=monotonic() + seconds, kind=MethodKind.name)
        self._participant.writer.patch(stating(record), write, seconds)
