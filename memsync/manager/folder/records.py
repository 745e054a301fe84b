"""The content of the files in the folder: JSON that people can read."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

from msgspec import DecodeError, json

from ...errors import ProtocolError, RendezvousError
from ..transport.messages import PROTOCOL

Address = str | tuple[str, int]


class EpochRecord(NamedTuple):
    """The content of a lock file, and whether its holder lives."""

    epoch: int
    held: bool
    peer: str  # the holder, or the last one; "" where it cannot be read
    pid: int
    address: Address
    since: float  # seconds since 1970; 0 where it is missing
    is_damaged: bool = False  # the content cannot be read; the living holder repairs it


def parse_epoch_record(path: Path, epoch: int, held: bool, text: bytes) -> EpochRecord:
    """Parse a lock file; raises `ProtocolError` as `check_protocol` does."""
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
    """Turn an address in JSON into an `Address`; raises `ValueError`."""
    match value:
        case str():
            return value
        case [str(host), int(port)]:
            return (host, port)
    raise ValueError(f"{value!r} is not an address")


def check_protocol(content: dict[str, Any], path: Path) -> None:
    """Raise `ProtocolError` for a file that a peer with another protocol number has written."""
    have = content.get("protocol")
    if have != PROTOCOL:
        raise ProtocolError(
            f"the host named in {path} (process {content.get('pid')}) speaks protocol {have!r}, "
            f"this process protocol {PROTOCOL}: use one version of memsync in all processes"
        )


def encode(content: dict[str, Any]) -> bytes:
    return json.format(json.encode(content), indent=1) + b"\n"


def decode(data: bytes) -> dict[str, Any] | None:
    """Decode the content of a file; None when it is damaged."""
    try:
        content = json.decode(data)
    except (DecodeError, ValueError, RecursionError):
        return None
    return content if isinstance(content, dict) else None
