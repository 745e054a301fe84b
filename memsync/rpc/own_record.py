"""What this peer states of itself in the directory of calls (see ``kinds/method.py``).

A peer states a record when it has methods, or when the directory says that somebody wants to call
it. The state may lose a record: the object of another cluster may replace this peer's, for example.
So each change of the directory is compared with what this peer wants to have stated.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import TYPE_CHECKING

from ..clocks import monotonic
from ..errors import MemSyncError, RendezvousError, WriteTimeoutError
from ..replication.kinds.method import Address, MethodKind, PeerRecord, directory, stating
from ..runtime.call import Call as Write
from ..runtime.logs import Logger
from ..runtime.native import Lock
from .attempt import Attempt

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
        self._lock = Lock()  # of what follows; held for a few steps
        self._attempt: Attempt | None = None
        self._is_closed = False

    def wanted(self) -> PeerRecord:
        """The record that the directory should have."""
        flags = {name: method.flags for name, method in self.methods.items()}
        return PeerRecord(self._address, flags, self._participant.options.rpc.pickles)

    def change(self, methods: Mapping[str, Method], seconds: float) -> None:
        """Offer these methods, and wait until the group knows; raises `RendezvousError`.

        A record that is not acknowledged in time is stated all the same.
        """
        self.methods = methods
        deadline = monotonic() + seconds
        while not (self._is_settled() or self._is_closed) and monotonic() < deadline:
            attempt = self._start(deadline)
            if not attempt.wait(deadline) or isinstance(attempt.error, WriteTimeoutError):
                log.warning("the methods of this peer are not known to the group yet")
                return
            error = attempt.error_to_raise()
            if error is not None:
                raise error

    def check(self) -> None:
        """The directory has changed (any thread, the role's included; never blocks)."""
        if not self._is_settled() and not self._is_closed:
            with suppress(RendezvousError):  # no thread is left; the next change tries again
                self._start(monotonic() + STATE_SECONDS)

    def close(self) -> None:
        """The peer stops: state nothing more."""
        self._is_closed = True

    def _found(self) -> PeerRecord:
        return directory(self._participant.state).peers.get(self._participant.id) or PeerRecord()

    def _is_settled(self) -> bool:
        is_listening = self._address is not None or not self.methods
        return is_listening and self._found() == self.wanted()

    def _start(self, deadline: float) -> Attempt:
        """The attempt to state the record that is under way, or a new one."""
        mine: Attempt | None = None
        try:
            with self._lock:
                if self._attempt is not None:
                    return self._attempt
                mine = self._attempt = Attempt(deadline)
            mine.start("memsync-methods", self._restate, self._ended)
            return mine
        except BaseException:
            if mine is not None:
                self._ended(mine)  # it may not have begun
            raise

    def _ended(self, attempt: Attempt) -> None:
        with self._lock:
            if self._attempt is attempt:
                self._attempt = None

    def _restate(self, attempt: Attempt) -> None:
        """Open the listener if it is needed, and state the record; on a thread of its own."""
        try:
            while not self._is_over(attempt):
                if self._found().wanted or (self.methods and self._address is None):
                    self._address = self._road.listen()
                self._state(attempt.deadline - monotonic())
        except MemSyncError as error:
            if not self._is_closed:
                log.warning("the methods of this peer cannot be stated: %s", error)
            raise

    def _is_over(self, attempt: Attempt) -> bool:
        """Whether there is nothing to do; a change after that begins another attempt."""
        with self._lock:
            is_over = self._is_settled() or self._is_closed
            if is_over and self._attempt is attempt:
                self._attempt = None
            return is_over

    def _state(self, seconds: float) -> None:
        record = self.wanted()
        if record == self._found():
            return
        write = Write(deadline=monotonic() + seconds, kind=MethodKind.name)
        self._participant.writer.patch(stating(record), write, seconds)
