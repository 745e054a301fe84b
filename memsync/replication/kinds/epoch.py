"""Entries of kind ``epoch``: the first entry of each epoch, which names its host.

The part of the state is the current host, and where the last epochs began. `State.common` uses the
latter to find how much history a peer of another epoch shares.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from ..entries import Entry
from ..state import Kind, State

_MAX_EPOCHS = 64  # the epochs that `State.common` can compare with


class Epochs(msgspec.Struct):
    """The host, and the last epochs with the version of their first entry."""

    host: str | None = None
    epochs: list[tuple[int, int]] = []


_decoder = msgspec.msgpack.Decoder(Epochs)


class EpochKind(Kind):
    """The beginning of an epoch; only hosts make such entries."""

    name = "epoch"

    def begin(self, data: dict[str, Any], options: Mapping[str, Any]) -> Epochs:
        """No epoch yet."""
        return Epochs()

    def apply(self, state: State, entry: Entry, *, fit: bool) -> None:
        """Note the host and where its epoch begins."""
        part: Epochs = state.parts[self.name]
        part.host = entry.body["host"]
        part.epochs.append((entry.epoch, entry.version))
        del part.epochs[:-_MAX_EPOCHS]
        state.notices += 1

    def encode(self, state: State) -> Epochs:
        """The part as it is."""
        part: Epochs = state.parts[self.name]
        return part

    def decode(self, data: msgspec.Raw, options: Mapping[str, Any]) -> Epochs:
        """The part of a snapshot."""
        return _decoder.decode(data)
