"""What is true of every host between two rounds of its loop; the simulation asserts it."""

from __future__ import annotations

from ...replication.membership import Members
from .host import Host


def check_host_invariants(host: Host, members: Members) -> None:
    """Raise `AssertionError` unless every attached peer is a member."""
    strangers = host.clients.keys() - members.keys()
    assert not strangers, f"attached, but no members: {sorted(strangers)}"
