"""MessagePack and JSON, also where there is no memory for them."""

from __future__ import annotations

from typing import Any

from msgspec import json, msgpack

_encode_into = msgpack.Encoder().encode_into


def encoded(value: Any) -> bytearray:
    """A value as MessagePack; raises `MemoryError` where there is no memory.

    There, `Encoder.encode` crashes the process (msgspec 0.22.0).
    """
    buffer = bytearray()
    _encode_into(value, buffer)
    return buffer


_encode_json_into = json.Encoder().encode_into


def encoded_json(value: Any) -> bytearray:
    """A value as JSON text; raises `MemoryError` where there is no memory, as `encoded` does."""
    buffer = bytearray()
    _encode_json_into(value, buffer)
    return buffer
