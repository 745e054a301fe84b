"""The protocol of a role, which is either the host of an epoch or a client's link to it."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Protocol, TypeVar

from ..clocks import monotonic
from ..engine import Uplink
from ..errors import HostUnresponsiveError
from ..replication.outcomes import Outcome
from ..runtime.awaited_write import AwaitedWrite
from ..runtime.flushes import SLOW, too_late
from .platform.task import Task
from .timing import TIMING
from .transport.messages import Grant


class Role(Uplink, Protocol):
    """A role from the moment at which the peer has caught up until it is closed (driver only)."""

    status: str  # "host" or "client"

    @property
    def lost(self) -> bool:
        """Whether the role's host may have been replaced, so that its last entries may be void."""

    @property
    def leaves_file(self) -> bool:
        """Whether the peer's file stays, free, which shows a host that the peer has gone."""

    @property
    def handing_over(self) -> bool:
        """Whether no more writes are ordered, because another peer takes over."""

    @property
    def granted(self) -> Grant | None:
        """The next epoch, if the host has granted it to this peer."""

    def run(self) -> Task[str]:
        """Play the role until it ends or the peer stops; returns the reason.

        Raises `RendezvousError` or `OSError` if the folder keeps the peer from going on.
        """

    def close(self, *, clean: bool) -> Task[list[Outcome[AwaitedWrite]] | None]:
        """End the role; without `clean`, after an error, only release its resources.

        Returns the own writes that were accepted but not completed; the next host decides their
        outcome. Returns None after a planned stop, which keeps what was accepted.
        """

    def host_survived(self) -> bool:
        """Whether the role ended although its host lives, so that the peer should dial slowly."""

    def describe_host(self) -> str:
        """A clause for error messages: which process is to answer this peer's writes."""

    def host_facts(self) -> dict[str, Any]:
        """The host as `MemSync.get_status` describes it (any thread)."""

    def flush(self, timeout: float) -> None:
        """Return when what is in the object by now is saved (any thread).

        Raises `StorageError`, `UsageError`, and `TimeoutError` without an answer of the host.
        """

    @property
    def storage(self) -> dict[str, Any] | None:
        """The state of saving, as `MemSync.get_status` describes it (any thread)."""

    def ping(self, timeout: float) -> dict[str, Any]:
        """Round trips as `MemSync.ping` returns them (any thread); raises `TimeoutError`."""


Now = Callable[[], tuple[Role | None, bool]]
"""Returns the role of a peer, and whether the peer has ended."""

TAnswer = TypeVar("TAnswer")


def ping_through(
    name: str, now: Now, describe_host: Callable[[], str], timeout: float
) -> dict[str, Any]:
    """The round trips of whatever role a peer has within `timeout` seconds.

    Raises `HostUnresponsiveError`.
    """
    try:
        return _ask(now, lambda role, left: role.ping(left), timeout)
    except TimeoutError:
        role = now()[0]
        raise HostUnresponsiveError(
            f"the host of {name!r} did not answer within {timeout:g} s: {describe_host()}",
            pid=role.host_facts()["pid"] if role is not None else None,
        ) from None


def flush_through(now: Now, describe_host: Callable[[], str], timeout: float) -> None:
    """See `MemSync.flush`; asks whatever role a peer has within `timeout` seconds."""
    try:
        _ask(now, lambda role, left: role.flush(left), timeout)
    except TimeoutError:
        role = now()[0]
        saves = role is not None and role.status == "host"
        raise too_late(timeout, SLOW if saves else describe_host()) from None


def _ask(now: Now, ask: Callable[[Role, float], TAnswer], timeout: float) -> TAnswer:
    """Call ``ask(role, seconds left)`` until it answers; raises `TimeoutError` after `timeout`."""
    deadline = monotonic() + timeout
    while True:
        (role, has_ended), left = now(), max(deadline - monotonic(), 0)
        if role is not None:
            with suppress(TimeoutError):
                return ask(role, left)
        left = deadline - monotonic()
        if left <= 0 or has_ended:
            raise TimeoutError
        time.sleep(min(left, TIMING.pong_check))  # the link was lost: the next role may answer
