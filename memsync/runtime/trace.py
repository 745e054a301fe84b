"""The trace of what a peer does with each write, which the option ``logEvents`` turns on.

One line at DEBUG, on the logger ``memsync.trace``, for each write that is proposed, ordered, sent,
applied and told. Who does not want it has no function to call, so it costs one look at an
attribute.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

from ..replication.entries import Decision, Entry, Propose
from ..replication.sequencer import Gap

log = logging.getLogger("memsync.trace")

Trace = Callable[..., None]
"""Called with what happened and with facts, by name."""


def new_trace(name: str, peer: str, *, wanted: bool) -> Trace | None:
    """What logs the trace of one peer of the object `name`; None when it is not wanted.

    The option is to be enough: where nobody has set the logger's level, it becomes DEBUG. Handlers
    are the program's matter.
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
    """What the trace says of an entry."""
    return {
        "epoch": entry.epoch,
        "version": entry.version,
        "kind": entry.kind,
        "writer": entry.peer,
        "number": entry.number,
    }


def refusal(proposal: Propose, result: Decision | Gap) -> dict[str, object]:
    """What the trace says of a proposal that made no entry; values of the object never."""
    if isinstance(result, Gap):
        return {"number": proposal.number, "why": f"number {result.first} comes first"}
    why = result.error[0] if result.error is not None else "nothing changes, or decided before"
    return {"number": proposal.number, "why": why}
