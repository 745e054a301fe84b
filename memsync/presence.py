"""`PeerPresence`: fields that each peer states about itself, and that vanish with it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from .clocks import monotonic
from .document import normalize
from .errors import UsageError
from .replication.kinds.presence import PresenceKind, present
from .runtime.call import Call
from .runtime.callbacks import check_callback
from .runtime.detached import Detached
from .runtime.dispatcher import Subscription
from .runtime.own_threads import refuse_waiting

if TYPE_CHECKING:
    from .lifecycle import Lifecycle


class PeerPresence:
    """The presence of the peers of one object; reached as ``mem.presence``.

    Each peer has fields of its own: what it does, where it listens. They are in the log, so all
    peers see them change in one order with the patches and the events. They outlive the host, and
    they vanish with their peer: at its `stop`, and within a second of its death. Any member of the
    group may state something, also one without the role ``writer``.

    >>> from memsync import MemSync
    >>> with MemSync("crew", engine="memory") as mem:
    ...     _ = mem.presence.update(status="busy", job=7)
    ...     _ = mem.presence.update(job=None)
    ...     mem.presence.all() == {mem.id: {"status": "busy"}}
    True
    """

    __slots__ = ("_mem",)

    def __init__(self, mem: Lifecycle) -> None:
        self._mem = mem

    def update(self, fields: Mapping[str, Any] | None = None, /, **more: Any) -> int:
        """Set fields of this peer, and wait for the acknowledgement; returns the version.

        The others stay. None removes a field. The values are JSON values of at most 64 KiB in all.
        Names that are no Python names go into the dict `fields`. A peer that starts again is a new
        one, without fields.

        Raises `UsageError`, `NotSerializableError`, `TooLargeError`, `NotStartedError`, and
        `WriteTimeoutError` after the option ``timeout``.
        """
        refuse_waiting("presence.update()")
        if fields is not None and not isinstance(fields, Mapping):
            raise UsageError(f"presence.update() takes a dict or named fields, not {fields!r:.60}")
        seconds = self._mem._seconds(None)
        call = Call(deadline=monotonic() + seconds, kind=PresenceKind.name)
        stated = {**(fields or {}), **more}
        return self._mem._participating().writer.patch(stated, call, seconds)

    def all(self) -> dict[str, dict[str, Any]]:
        """The fields of each peer that has some, by its id; a detached copy of one version."""
        participant = self._mem._participating()
        with participant.guard:
            found: dict[str, dict[str, Any]] = normalize(present(participant.state))
        return found

    def on_change(self, callback: Callable[[str, dict[str, Any] | None], object]) -> Subscription:
        """Call ``callback(peer, fields)`` for each change; returns a `Subscription`.

        `fields` are all fields of the peer, and None when it has none any more or is gone. It runs
        on the dispatcher thread, in the order of the log. A peer that catches up by a snapshot gets
        one call for each peer whose fields differ.

        It may be registered before `start`, stays over `stop` and `start`, and has a copy by pickle
        join. Raises `UsageError` for what is not callable, or async.
        """
        check_callback("the callback of presence.on_change()", callback)

        detached = Detached(callback, spreads=True)
        return self._mem._registered(self._mem._dispatcher.on("presence", detached))
