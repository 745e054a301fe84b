"""The format of a saved object: one JSON object with its version in front.

``{"format": 1, "cluster": ..., "epoch": ..., "version": ..., "timestamp": ..., "data": {...}}``.
The predecessor's file has ``data``, ``version`` and ``timestamp``, in any order. ``timestamp`` is
in milliseconds since 1970.
"""

from __future__ import annotations

import re
from typing import Any, NamedTuple

import msgspec

from ..document import encoded_json, normalize
from ..errors import NotSerializableError, StorageError

FORMAT = 1

Pair = tuple[int, int]

_START = re.compile(rb'\{"format":\d+,"cluster":"([^"\\]*)","epoch":(\d+),"version":(\d+),')
_LARGEST = 2**62  # of an epoch or a version


class SavedObject(NamedTuple):
    """What a file holds."""

    data: dict[str, Any] | None
    pair: Pair
    timestamp: int


NOTHING = SavedObject(None, (0, 0), 0)
"""There is no file."""


def head(cluster_id: str, epoch: int, version: int, timestamp: int) -> bytes:
    """What stands before the text of the object; ``}`` stands behind it."""
    facts = {
        "format": FORMAT,
        "cluster": cluster_id,
        "epoch": epoch,
        "version": version,
        "timestamp": timestamp,
    }
    return bytes(encoded_json(facts)[:-1]) + b',"data":'


def pair_at(start: bytes | None) -> Pair:
    """The pair of a saved object by its first bytes; (0, 0) for nothing, and for other formats.

    >>> pair_at(head("c", 3, 120, 0))
    (3, 120)
    """
    found = _START.match(start or b"")
    return (int(found[2]), int(found[3])) if found else (0, 0)


def cluster_at(start: bytes | None) -> str:
    """The cluster id of a saved object by its first bytes; empty for nothing and other formats."""
    found = _START.match(start or b"")
    return found[1].decode(errors="replace") if found else ""


def parse(text: bytes, url: str) -> SavedObject:
    """The object in a file; raises `StorageError` that says what is wrong with it.

    >>> parse(b'{"data": {"n": 1}, "version": 7, "timestamp": 0}', "state.json")
    SavedObject(data={'n': 1}, pair=(0, 7), timestamp=0)
    """
    try:
        content = msgspec.json.decode(text)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        what = "it is empty" if not text.strip() else f"it is not JSON: {error}"
        raise _unreadable(url, what) from error
    if not isinstance(content, dict) or not isinstance(content.get("data"), dict):
        raise _unreadable(url, "it has no object 'data'")
    number = content.get("format", FORMAT)
    if type(number) is not int or number > FORMAT:
        raise _unreadable(url, f"a later version of memsync has written it (format {number!r:.20})")
    try:
        data = normalize(content["data"], "data")
    except NotSerializableError as error:
        raise _unreadable(url, str(error)) from error
    pair = _number(content, "epoch", url), _number(content, "version", url)
    timestamp = content.get("timestamp")  # nothing depends on it
    return SavedObject(data, pair, timestamp if type(timestamp) is int else 0)


def _number(content: dict[str, Any], name: str, url: str) -> int:
    value = content.get(name)
    if value is None:
        return 0
    if type(value) is not int or not 0 <= value < _LARGEST:
        raise _unreadable(url, f"its {name} is {value!r:.40}")
    return value


def _unreadable(url: str, what: str) -> StorageError:
    return StorageError(
        f"{url} cannot be loaded, because {what}. It was left as it is: repair it, or move it away "
        "to begin with a new object"
    )
