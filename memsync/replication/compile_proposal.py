"""Compile a proposal against a document: check its condition, compile its update.

The host compiles against its state and a writer against its view, both with this function, so equal
documents give equal operations.
"""

from __future__ import annotations

from typing import Any

from ..document import compile_patch, compile_update, element_index, matches, to_plain
from ..errors import ConditionError, ConflictError, MemSyncError, TooLargeError, UpdateError
from .clock import wall_time
from .entries import Propose


def compile_proposal(
    document: dict[str, Any], proposal: Propose, version: int
) -> list[dict[str, Any]]:
    """The operations of a proposal on a document; errors carry `version`, the document's.

    Raises `ConditionError` when its filter does not match, `ConflictError` when an RFC 6902
    ``test`` fails, and what `compile_update` and `compile_patch` raise.
    """
    where = proposal.where
    try:
        if where is not None and not matches(document, where):
            raise _unmet(document, where, version)
        body = proposal.body
        if isinstance(body, list):
            return compile_patch(document, body)
        is_timed = isinstance(body, dict) and "$currentDate" in body
        return compile_update(
            document,
            body,
            array_filters=proposal.array_filters,
            filter=where,
            now=wall_time(proposal.timestamp) if is_timed else None,
            is_json=True,
        )
    except ConflictError as error:
        error.version = version
        raise
    except MemSyncError:
        raise
    except Exception as error:  # one peer's update must not stop another peer
        raise bug(error) from error


def bug(error: Exception) -> MemSyncError:
    """The refusal of an update on which memsync fails, which may be for want of memory."""
    if isinstance(error, MemoryError):
        return no_memory()
    return UpdateError(f"memsync failed on this update, which is a bug in memsync: {error!r}")


def no_memory(size: int | None = None) -> TooLargeError:
    """The refusal of a write, of `size` bytes, for which the host has no memory."""
    what = "the write" if size is None else f"a write of {size} bytes"
    return TooLargeError(
        f"the host has no memory for {what}: split the update, or have a process host that has more"
    )


def _unmet(document: dict[str, Any], where: dict[str, Any], version: int) -> ConditionError:
    found = {p: value_at(document, p) for p in where if not p.startswith("$")}
    return ConditionError(
        f"'where' does not match at version {version}: wanted {where!r:.300}, found {found!r:.300}",
        version=version,
        value=found,
    )


def value_at(document: Any, path: str) -> Any:
    """A detached copy of the value at a dotted path; None where there is none."""
    return to_plain(node_at(document, path))


def node_at(document: Any, path: str) -> Any:
    """The value at a dotted path, which may be a live container; None where there is none."""
    value = document
    for part in path.split(".") if path else ():
        if isinstance(value, dict):
            value = dict.get(value, part)
        elif isinstance(value, list) and (index := element_index(part, value)) is not None:
            value = value[index]
        else:
            return None
    return value
