"""What the files in the folder say: JSON, which people can read as well."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...errors import ProtocolError, RendezvousError
from ..transport.messages import PROTOCOL

Address = str | tuple[str, int]


@dataclass(frozen=True)
class EpochRecord:
    """What a lock file says about an epoch, and whether its holder lives."""

    epoch: int
    held: bool
    peer: str  # who holds it, or has; "" where it cannot be read
    pid: int
    address: Address
    since: float  # seconds since 1970; 0 where the lock does not say
    is_damaged: bool = False  # who holds it cannot be read; a living holder is about to repair that


def parse_epoch_record(path: Path, epoch: int, held: bool, text: bytes) -> EpochRecord:
    """What a lock file says about its epoch; raises `ProtocolError` like `check_protocol`."""
    content = decode(text) or {}
    if not held:
        return EpochRecord(epoch, False, str(content.get("id", "")), 0, "", 0)
    if isinstance(content.get("protocol"), int):
        check_protocol(content, path)
    try:
        address = to_address(content["address"])
        since = content.get("since", 0)
        return EpochRecord(epoch, True, content["id"], content["pid"], address, since)
    except (KeyError, ValueError):
        return EpochRecord(epoch, True, "", 0, "", 0, is_damaged=True)


def parse_rendezvous(path: Path, text: bytes) -> dict[str, Any]:
    """What a rendezvous file says (see `ObjectFolder.read_rendezvous`)."""
    content = decode(text)
    damaged = RendezvousError(
        f"the rendezvous file {path} is damaged: a living host repairs it within its "
        "network.poll, the next host replaces it; if nobody hosts the object, delete it"
    )
    if content is None or not {"protocol", "epoch", "id", "pid", "address"} <= content.keys():
        raise damaged
    check_protocol(content, path)
    try:
        return {**content, "address": to_address(content["address"])}
    except ValueError:
        raise damaged from None


def to_address(value: Any) -> Address:
    """An address as JSON has it; raises `ValueError` when it is none."""
    match value:
        case str():
            return value
        case [str(host), int(port)]:
            return (host, port)
    raise ValueError(f"{value!r} is no address")


def check_protocol(content: dict[str, Any], path: Path) -> None:
    """Raise `ProtocolError` when a file was written by a peer of another protocol number."""
    have = content.get("protocol")
    if have != PROTOCOL:
        raise ProtocolError(
            f"the host named in {path} (process {content.get('pid')}) speaks protocol {have!r}, "
            f"this process protocol {PROTOCOL}: use one version of memsync in all processes"
        )


def encode(content: dict[str, Any]) -> bytes:
    """The content of a file as people can read it."""
    return (json.dumps(content, indent=1) + "\n").encode()


def decode(data: bytes) -> dict[str, Any] | None:
    """What such a file says; None when it is damaged."""
    try:
        content = json.loads(data)
    except (ValueError, RecursionError):
        return None
    return content if isinstance(content, dict) else None
