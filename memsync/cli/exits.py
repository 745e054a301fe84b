"""The exit statuses of all commands, and which error has which."""

from __future__ import annotations

from ..errors import MemErrors, MemSyncError

OK = 0
NEGATIVE = 1  # no value, no match, something is wrong, the method has raised
USAGE = 2
NO_OBJECT = 3  # nobody shares it, or no host answers
REFUSED = 4
TIMED_OUT = 124  # as timeout(1) has it
INTERRUPTED = 130  # what a shell reports for a program that Ctrl-C ended

STATUS_OF = {
    MemErrors.ERR_CONDITION: NEGATIVE,
    MemErrors.ERR_RPC: NEGATIVE,
    MemErrors.ERR_USAGE: USAGE,
    MemErrors.ERR_OPTIONS: USAGE,
    MemErrors.ERR_NOT_SERIALIZABLE: USAGE,
    MemErrors.ERR_RENDEZVOUS: NO_OBJECT,
    MemErrors.ERR_HOST_UNRESPONSIVE: NO_OBJECT,
    MemErrors.ERR_PEER_LOST: NO_OBJECT,
    MemErrors.ERR_WRITE_TIMEOUT: TIMED_OUT,
    MemErrors.ERR_WRITE_CONCERN: TIMED_OUT,
    MemErrors.ERR_LOCK_TIMEOUT: TIMED_OUT,
    MemErrors.ERR_WAIT_TIMEOUT: TIMED_OUT,
    MemErrors.ERR_RPC_TIMEOUT: TIMED_OUT,
}
"""All other errors are refusals."""


def status_of(error: MemSyncError) -> int:
    """The exit status for an error."""
    return STATUS_OF.get(error.code, REFUSED)
