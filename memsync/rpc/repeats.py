"""Calls that go on at another peer: where the first one has not run them, or they may run twice.

A few threads of memsync see to it, because choosing a peer and connecting to it may wait, and
nobody may wait for the answer (`rpc.submit`).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from ..errors import MemErrors, PeerLostError
from .messages import Failure
from .outcomes import Ending, Lost
from .pool import Pool, Task

if TYPE_CHECKING:
    from .choice import Choice
    from .future import CallFuture
    from .request import Request

THREADS = 4  # that choose and connect


class Repeats:
    """Of one peer; `repeat` finds another one for a call, and raises where there is none."""

    def __init__(
        self, choice: Choice, repeat: Callable[[Request, str | None, CallFuture], None]
    ) -> None:
        self._choice = choice
        self._repeat = repeat
        self._pool = Pool(THREADS)

    def take(self, request: Request, peer: str | None, future: CallFuture, ending: Ending) -> bool:
        """Have a call go on elsewhere, if it may; `peer` has to run it if it is named.

        Returns whether the ending does not count. Never blocks.
        """
        if not self._may(request, peer, ending):
            return False
        return self._pool.submit(Task(partial(self._go_on, request, peer, future, ending)))

    def close(self, seconds: float) -> None:
        """The peer stops."""
        self._pool.close(seconds)

    def _may(self, request: Request, peer: str | None, ending: Ending) -> bool:
        if not request.left():
            return False
        if isinstance(ending, Lost):
            if not ending.was_sent:
                return True
            return peer is None and self._choice.may_repeat(request)
        if peer is not None or not isinstance(ending, Failure) or ending.error is None:
            return False
        return bool(ending.error[0] == MemErrors.ERR_PEER_LOST)

    def _go_on(
        self, request: Request, peer: str | None, future: CallFuture, ending: Ending
    ) -> None:
        try:
            if not isinstance(ending, Lost) or ending.was_sent:
                error = future.description.error(ending)
                assert isinstance(error, PeerLostError)
                request.failed[future.description.link.peer] = error
            self._repeat(request, peer, future)
        except BaseException as error:  # a pickle or a repr of the program may exit
            future.give_up(error)
