"""The views that a forked child has inherited, until its own peers show their objects in them.

The child must not join where it may never use the object, so it joins before the first read of a
container (see `document.inherited`). The threads that read meanwhile wait for the join as well.
memsync's own threads do not wait: they fill the containers.

The hook slows down the reads of all live containers of the process. So once a peer has started, the
views that still wait are set aside, which takes about 0.7 s for a million containers, and all other
containers are read at full speed.
"""

from __future__ import annotations

from typing import Any, Protocol

from ..document import hook_reads, set_aside, take_back, unhook_reads
from . import native
from .own_threads import is_own_thread
from .participant import Participant


class Peer(Protocol):
    """A peer of this process that is to show its object in an inherited view."""

    def join(self) -> None:
        """Show the object. Returns when that is done, and at once in the thread that does it."""

    def is_waiting(self) -> bool:
        """Whether it has not joined yet."""


class InheritedView:
    """The view of a participant of the parent."""

    def __init__(self, participant: Participant, peer: Peer) -> None:
        self.participant = participant
        """The last one that has, or may have, changed the view."""
        self.peer = peer
        self._is_joining = False
        self._is_aside = self._may_be_aside = False
        _state.waiting[id(participant.guard)] = self

    def after_fork(self) -> None:
        """In a forked child, the view is inherited, or it still is. See `forks`."""
        self.participant.close_after_fork()
        self._is_joining = False
        _state.lock = native.RLock()
        _state.has_peer = False
        hook_reads(_before_read)

    def begin(self) -> None:
        """The peer begins to join."""
        with _state.lock:
            self._is_joining = True
            hook_reads(_before_read)
            if self._may_be_aside:
                take_back(self.participant.replica.view)
                self._is_aside = self._may_be_aside = False

    def end(self) -> None:
        """The peer has joined, or has failed to."""
        self._is_joining = False
        if _state.has_peer:
            has_started()

    def is_joining(self) -> bool:
        return self._is_joining and self.peer.is_waiting()

    def use(self) -> None:
        """Join, unless the calling thread cannot wait."""
        is_busy = self.participant.guard._is_owned()  # type: ignore[attr-defined]
        if not is_busy and not is_own_thread():
            self.peer.join()

    def set_aside(self) -> None:
        """Keep the containers hooked, each by its class."""
        if not self._is_aside:
            self._may_be_aside = True
            set_aside(self.participant.replica.view)
            self._is_aside = True


class _State:
    """The views of this process. `lock` is held while they are set aside and taken back."""

    def __init__(self) -> None:
        self.waiting: dict[int, InheritedView] = {}  # by the id of the guard
        self.lock = native.RLock()
        self.has_peer = False  # one of this process has started


if "_state" not in globals():  # `importlib.reload` keeps it
    _state = _State()


def has_started() -> None:
    """A peer of this process has started: let containers be read at full speed."""
    _state.has_peer = True
    with _state.lock:
        for guard, view in list(_state.waiting.items()):
            if not view.peer.is_waiting():
                del _state.waiting[guard]
        if any(view.is_joining() for view in _state.waiting.values()):
            return  # its end calls this function as well
        for view in _state.waiting.values():
            view.set_aside()
        unhook_reads()


def _before_read(container: Any) -> None:
    view = _state.waiting.get(id(container._guard))
    if view is not None:
        view.use()
