"""MessagePack, also where there is no memory for it."""

from __future__ import annotations

from typing import Any

from msgspec import msgpack

_encode_into = msgpack.Encoder().encode_into


def encoded(value: Any) -> bytearray:
    """A value as MessagePack; raises `MemoryError` where there is no memory.

    There, `Encoder.encode` crashes the process (msgspec 0.22.0).
    """
    buffer = bytearray()
    _encode_into(value, buffer)
    return buffer
