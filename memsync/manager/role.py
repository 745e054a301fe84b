"""What the driver knows of a role: the host of an epoch, or a client's link to it."""

from __future__ import annotations

from typing import Any, Protocol

from ..engine import Uplink
from ..replication.replica import Outcome
from ..runtime.awaited_write import AwaitedWrite
from .platform.task import Task
from .transport.messages import Grant


class Role(Uplink, Protocol):
    """A role from the moment when the peer is level until it is closed (driver only)."""

    status: str  # "host" or "client"

    @property
    def lost(self) -> bool:
        """Whether what this role still brings may be of a host that was replaced already."""

    @property
    def leaves_file(self) -> bool:
        """Whether the peer's file stays, freed, for a host to see that the peer has gone."""

    @property
    def handing_over(self) -> bool:
        """Whether no write is ordered any more, because another peer is to host."""

    @property
    def granted(self) -> Grant | None:
        """The next epoch, if the host has granted it to this peer."""

    def run(self) -> Task[str]:
        """Play the role until it ends or the peer stops; returns why.

        Raises `RendezvousError` or `OSError` where the folder keeps the peer from going on.
        """

    def close(self, *, clean: bool) -> Task[list[Outcome[AwaitedWrite]] | None]:
        """End the role; returns own writes that were accepted, but not told, under this role.

        The next host decides what became of them. None after a planned stop: what was accepted
        stays so.

        Without `clean` everything is just let go.
        """

    def broke_although_the_host_lives(self) -> bool:
        """Whether the role ended although nothing seems to be wrong, so that haste helps nobody."""

    def announcement(self) -> str:
        """What the log says of the role when it begins, for people."""

    def describe_host(self) -> str:
        """Who is to answer to this peer's writes, for people."""

    def host_facts(self) -> dict[str, Any]:
        """The host as `MemSync.get_status` describes it (any thread)."""

    def ping(self, timeout: float) -> dict[str, Any]:
        """Round trips as `MemSync.ping` returns them (any thread); raises `TimeoutError`."""
