"""The lines of a journal: JSON objects, each with the CRC of itself and of the line before.

A segment (see `segments`) is JSON Lines. ``crc`` is the CRC-32 (as in zlib) of the bytes of the
line behind it, from ``"before"`` to the last brace; ``before`` is the ``crc`` of the line before.
So a changed bit, and a line that is missing, doubled or out of its order, are found. There are
three kinds of lines:

- the *head*, the first line: ``segment`` (the number of this format), ``cluster``, and the pair
  ``epoch``, ``version`` of the state that the entries of the segment follow. Its ``before`` is the
  ``crc`` of the line at that pair in an earlier segment; zeros if there is none.
- an *entry*: ``epoch``, ``version``, ``timestamp`` (milliseconds since 1970), ``peer``, and for a
  change of the object ``patch``, its RFC 6902 operations; ``event``, if it carries one; ``entry``,
  what memsync needs besides (base64 of MessagePack).
- a *mark*: all lines before it are durable, up to the version ``synced``.
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from typing import Any
from zlib import crc32

import msgspec

from ..document import Operation, encoded, encoded_json
from ..errors import ProtocolError
from ..replication.codec import decode
from ..replication.entries import Entry
from ..replication.kinds.patch import PatchKind
from .snapshot_file import Pair

FORMAT = 1
HEAD_BYTES = 4096
"""No head of a segment has more."""
NO_LINE = 0
"""The CRC before the first line of all."""

_START = b'{"crc":"'
_CRC = slice(len(_START), len(_START) + 8)
_COVERED = len(_START) + 10  # behind the CRC, its quote and the comma


class Line(msgspec.Struct, omit_defaults=True):
    """A line as JSON has it; see the module."""

    crc: str
    before: str
    segment: int | None = None
    cluster: str = ""
    epoch: int = 0
    version: int = 0
    timestamp: int = 0
    peer: str = ""
    kind: str = PatchKind.name
    patch: list[Operation] | None = None
    event: list[Any] | None = None
    entry: str = ""
    synced: int | None = None

    @property
    def pair(self) -> Pair:
        """Of the head: what it follows; of an entry: its own."""
        return self.epoch, self.version

    @property
    def is_entry(self) -> bool:
        return self.synced is None and self.segment is None


_decoder = msgspec.json.Decoder(Line)


def head_content(cluster: str, pair: Pair, timestamp: int) -> bytearray:
    """The head of a segment that follows a pair; see `sealed`."""
    facts = {"segment": FORMAT, "cluster": cluster, "epoch": pair[0], "version": pair[1]}
    return encoded_json({**facts, "timestamp": timestamp})


def entry_content(entry: Entry) -> bytearray:
    """An entry; see `sealed`."""
    is_patch = entry.kind == PatchKind.name
    rest = Entry(
        entry.epoch,
        entry.version,
        entry.peer,
        entry.number,
        entry.timestamp,
        entry.kind,
        None if is_patch else entry.body,
        entry.acked_below,
        entry.decided,
        entry.written,
    )
    facts: dict[str, Any] = {
        "epoch": entry.epoch,
        "version": entry.version,
        "timestamp": entry.timestamp >> 16,
        "peer": entry.peer,
    }
    if is_patch:
        facts["patch"] = entry.body
    else:
        facts["kind"] = entry.kind
    if entry.event is not None:
        facts["event"] = entry.event
    facts["entry"] = b64encode(encoded(rest)).decode()
    return encoded_json(facts)


def mark_content(version: int) -> bytearray:
    """A mark; see `sealed`."""
    return encoded_json({"synced": version})


def sealed(content: bytes | bytearray, before: int) -> tuple[bytes, int]:
    """The line with a content, and its CRC, which the next one names.

    >>> sealed(mark_content(7), NO_LINE)
    (b'{"crc":"b08af618","before":"00000000","synced":7}\\n', 2961896984)
    """
    covered = b'"before":"%08x",' % before + content[1:]
    crc = crc32(covered)
    return _START + b'%08x",' % crc + covered + b"\n", crc


def parsed(text: bytes) -> Line | None:
    """The line in a text without its line feed; None if it is damaged."""
    if not text.startswith(_START) or b"%08x" % crc32(text[_COVERED:]) != text[_CRC]:
        return None
    try:
        line = _decoder.decode(text)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
    return line if (line.segment or 0) <= FORMAT else None


def head_of(start: bytes | None) -> Line | None:
    """The head of a segment by its first `HEAD_BYTES`; None if it is not whole."""
    line = parsed((start or b"").partition(b"\n")[0])
    return line if line is not None and line.segment is not None else None


def entry_of(line: Line) -> Entry:
    """The entry of a line, as it was ordered; raises `ProtocolError` for other data."""
    try:
        entry = decode(b64decode(line.entry))
    except ValueError as error:
        raise ProtocolError(f"the line of version {line.version} has no entry") from error
    if not isinstance(entry, Entry) or (entry.epoch, entry.version) != line.pair:
        raise ProtocolError(f"the line of version {line.version} has the entry of another one")
    if line.patch is not None:
        entry.body = line.patch
    entry.event = line.event
    return entry
