"""Where an object is saved: the protocol of a target (see `open_target`)."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Protocol

from ..errors import StorageError

START = 4096
"""The bytes at the start of a saved object that tell which version it is."""

Check = Callable[[bytes | None], None]
"""Gets the start of what is there now, None where there is nothing; raises to keep it."""

LOCK, CONDITIONAL, NONE = "lock", "conditional", "none"
"""What keeps an older object from replacing a newer one: a lock of the system, a conditional put,
or nothing."""


class NotHost(Exception):
    """This process is no longer the host."""


class Target(Protocol):
    """One place where an object is saved. All methods raise `StorageError`."""

    url: str
    fencing: str

    def prepare(self) -> None:
        """Find out what the place can do. Raises if it does not keep older objects away."""

    def read(self) -> bytes | None:
        """All that is saved; None where there is nothing."""

    def read_start(self) -> bytes | None:
        """The first `START` bytes of it, or somewhat more."""

    def write(self, pieces: Iterable[bytes | bytearray], check: Check) -> None:
        """Replace all that is saved, and return when it is durable.

        Nobody ever finds a part of it. `check` is called immediately before the replacement; the
        pieces are taken before.
        """


def refusal(url: str, why: str) -> StorageError:
    """The error of a target without a fence."""
    return StorageError(
        f"{url}: {why}, so a host that was suspended could put an older object in the place of a "
        "newer one: use a store with conditional puts, or accept it with file.fencing: off"
    )
