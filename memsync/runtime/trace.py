"""The trace of each write through a peer; the option ``logEvents`` turns it on.

The logger ``memsync.trace`` gets one DEBUG line each time a write is proposed, ordered, sent,
applied or resolved. When tracing is off the callable is None, so it costs one attribute lookup.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable

from ..replication.entries import Decision, Entry, Propose
from ..replication.kinds import KINDS
from ..replication.membership import Members
from ..replication.sequencer import Gap
from .logs import Logger

log = Logger("memsync.trace")

_PATHS_MAX = 5  # that one line names

Trace = Callable[..., None]
"""Called with the event, and with its facts as keyword arguments."""


def new_trace(name: str, peer: str, *, wanted: bool) -> Trace | None:
    """The trace function of one peer; None when it is not wanted.

    A logger without a level of its own is set to DEBUG, so that the option is enough. The program
    provides the handlers.
    """
    if not wanted:
        return None
    if log.logger.level == logging.NOTSET:
        log.logger.setLevel(logging.DEBUG)

    def trace(what: str, **facts: object) -> None:
        if log.is_on(logging.DEBUG):
            text = " ".join(f"{fact}={value}" for fact, value in facts.items())
            log.debug("%s name=%s peer=%s pid=%s %s", what, name, peer, os.getpid(), text)

    return trace


def facts_of(entry: Entry, members: Members) -> dict[str, object]:
    """The facts about an entry: its writer, and the paths that it changes."""
    facts: dict[str, object] = {
        "epoch": entry.epoch,
        "version": entry.version,
        "kind": entry.kind,
        **_writer(entry.peer, members),
        "number": entry.number,
    }
    operations = KINDS[entry.kind].changes(entry) if entry.kind in KINDS else []
    if operations:
        paths = [operation["path"] for operation in operations]
        more = f" and {len(paths) - _PATHS_MAX} more" if len(paths) > _PATHS_MAX else ""
        facts["paths"] = f"{paths[:_PATHS_MAX]}{more}"
    return facts


def refusal(
    peer: str, proposal: Propose, result: Decision | Gap, members: Members
) -> dict[str, object]:
    """The facts about a proposal that made no entry; never values of the object."""
    facts = {**_writer(peer, members), "number": proposal.number}
    if isinstance(result, Gap):
        return {**facts, "why": f"number {result.first} comes first"}
    if result.error is None:
        return {**facts, "why": "nothing changes, or decided before"}
    code, _, fields = result.error
    place = {"path": fields["path"]} if fields.get("path") is not None else {}
    return {**facts, "why": code, **place}


def _writer(peer: str, members: Members) -> dict[str, object]:
    return {"writer": peer, "writer_pid": members.get(peer, {}).get("pid")}
