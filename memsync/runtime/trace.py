"""The trace of each write through a peer; the option ``logEvents`` turns it on.

The logger ``memsync.trace`` gets one DEBUG line each time a write is proposed, ordered, sent,
applied or resolved. When tracing is off the callable is None, so it costs one attribute lookup.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

from ..replication.entries import Decision, Entry, Propose
from ..replication.sequencer import Gap

log = logging.getLogger("memsync.trace")

Trace = Callable[..., None]
"""Called with the event, and with its facts as keyword arguments."""


def new_trace(name: str, peer: str, *, wanted: bool) -> Trace | None:
    """The trace function of one peer; None when it is not wanted.

    A logger without a level of its own is set to DEBUG, so that the option is enough. The program
    provides the handlers.
    """
    if not wanted:
        return None
    if log.level == logging.NOTSET:
        log.setLevel(logging.DEBUG)

    def trace(what: str, **facts: object) -> None:
        if log.isEnabledFor(logging.DEBUG):
            text = " ".join(f"{fact}={value}" for fact, value in facts.items())
            log.debug("%s name=%s peer=%s %s", what, name, peer, text)

    return trace


def facts_of(entry: Entry) -> dict[str, object]:
    """The facts about an entry."""
    return {
        "epoch": entry.epoch,
        "version": entry.version,
        "kind": entry.kind,
        "writer": entry.peer,
        "number": entry.number,
    }


def refusal(proposal: Propose, result: Decision | Gap) -> dict[str, object]:
    """The facts about a proposal that made no entry; never values of the object."""
    if isinstance(result, Gap):
        return {"number": proposal.number, "why": f"number {result.first} comes first"}
    why = result.error[0] if result.error is not None else "nothing changes, or decided before"
    return {"number": proposal.number, "why": why}
