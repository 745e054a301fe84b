"""The tree of errors, and what each says about the fate of a write.

::

    MemSyncError
      UsageError (ValueError)            OptionsError (ValueError)       NotStartedError
      UpdateError (ValueError)           NotSerializableError (TypeError)  TooLargeError
      ReadOnlyError (PermissionError)    MaxWritersError
      ConflictError    ConditionError    QueueFullError    LockLostError
      WriteTimeoutError (TimeoutError)   WriteConcernError (TimeoutError)
      LockTimeoutError (TimeoutError)    WaitTimeoutError (TimeoutError)
      NoSuchMethodError (LookupError)    RpcError
      RpcTimeoutError (TimeoutError)     PeerLostError (ConnectionError)
      RendezvousError  HostUnresponsiveError (TimeoutError)  ProtocolError
      AuthenticationFailedError StorageError (OSError)

Every error has ``.code`` (a member of `MemErrors`) and ``.outcome``: whether the write it speaks of
was ``"not_applied"``, ``"applied"``, or whether that is ``"unknown"``. All of them pickle.
"""

from __future__ import annotations

from enum import Enum
from typing import Any, Literal

Outcome = Literal["not_applied", "unknown", "applied"]


class MemErrors(str, Enum):
    """The codes of all errors; a member's value is its name."""

    ERR_USAGE = "ERR_USAGE"
    ERR_OPTIONS = "ERR_OPTIONS"
    ERR_NOT_STARTED = "ERR_NOT_STARTED"
    ERR_UPDATE = "ERR_UPDATE"
    ERR_NOT_SERIALIZABLE = "ERR_NOT_SERIALIZABLE"
    ERR_TOO_LARGE = "ERR_TOO_LARGE"
    ERR_READ_ONLY = "ERR_READ_ONLY"
    ERR_MAX_WRITERS = "ERR_MAX_WRITERS"
    ERR_CONFLICT = "ERR_CONFLICT"
    ERR_CONDITION = "ERR_CONDITION"
    ERR_QUEUE_FULL = "ERR_QUEUE_FULL"
    ERR_LOCK_LOST = "ERR_LOCK_LOST"
    ERR_WRITE_TIMEOUT = "ERR_WRITE_TIMEOUT"
    ERR_WRITE_CONCERN = "ERR_WRITE_CONCERN"
    ERR_LOCK_TIMEOUT = "ERR_LOCK_TIMEOUT"
    ERR_WAIT_TIMEOUT = "ERR_WAIT_TIMEOUT"
    ERR_NO_METHOD = "ERR_NO_METHOD"
    ERR_RPC = "ERR_RPC"
    ERR_RPC_TIMEOUT = "ERR_RPC_TIMEOUT"
    ERR_PEER_LOST = "ERR_PEER_LOST"
    ERR_RENDEZVOUS = "ERR_RENDEZVOUS"
    ERR_HOST_UNRESPONSIVE = "ERR_HOST_UNRESPONSIVE"
    ERR_PROTOCOL = "ERR_PROTOCOL"
    ERR_AUTH = "ERR_AUTH"
    ERR_STORAGE = "ERR_STORAGE"

    def __str__(self) -> str:
        return self.value


class MemSyncError(Exception):
    """Base of every error memsync raises on purpose.

    `fields` are facts a program may want (``path``, ``version`` ...); they become attributes and
    travel between processes together with the message.
    """

    code: MemErrors
    outcome: Outcome = "not_applied"

    def __init__(self, message: str = "", **fields: Any) -> None:
        if type(self) is MemSyncError:
            raise TypeError("MemSyncError is abstract: raise one of its subclasses")
        super().__init__(message)
        self.__dict__.update(fields)

    @property
    def fields(self) -> dict[str, Any]:
        """The facts given to the constructor, as a plain dict."""
        return {name: value for name, value in vars(self).items() if not name.startswith("_")}


class UsageError(MemSyncError, ValueError):
    """The call itself is wrong: an argument, a name, an order of calls."""

    code = MemErrors.ERR_USAGE


class OptionsError(MemSyncError, ValueError):
    """An option is unknown, has the wrong type, or differs from the group's."""

    code = MemErrors.ERR_OPTIONS


class NotStartedError(MemSyncError):
    """The handle takes part in no group (yet, or any more)."""

    code = MemErrors.ERR_NOT_STARTED


class UpdateError(MemSyncError, ValueError):
    """An update, filter or patch that cannot be applied to the document.

    ``kind`` names the rule that was broken, ``path`` the place, ``server_code`` MongoDB's number.
    """

    code = MemErrors.ERR_UPDATE
    kind: str = "bad_value"
    path: str | None = None
    server_code: int | None = None


class NotSerializableError(MemSyncError, TypeError):
    """A value that JSON cannot hold; ``path`` says where it sits."""

    code = MemErrors.ERR_NOT_SERIALIZABLE
    path: str | None = None


class TooLargeError(MemSyncError):
    """A message or value over one of the limits named in the options."""

    code = MemErrors.ERR_TOO_LARGE


class ReadOnlyError(MemSyncError, PermissionError):
    """This peer's roles lack ``writer``."""

    code = MemErrors.ERR_READ_ONLY


class MaxWritersError(MemSyncError):
    """All places for writers are taken by living processes."""

    code = MemErrors.ERR_MAX_WRITERS


class ConflictError(MemSyncError):
    """A write that lost against one it had not seen, or a guard that failed.

    ``path`` is the place, an RFC 6901 pointer, ``value`` what is there now, ``version`` the one at
    which it was refused. ``patches`` are the patches since the version on which the write was made,
    the newest 1,000 at most: ``{"version", "epoch", "peer", "patch"}`` each.
    """

    code = MemErrors.ERR_CONFLICT
    path: str | None = None
    version: int | None = None
    value: Any = None
    patches: list[Any] | None = None


class ConditionError(MemSyncError):
    """``where`` did not match the host's state; nothing was changed."""

    code = MemErrors.ERR_CONDITION
    version: int | None = None
    value: Any = None


class QueueFullError(MemSyncError):
    """No room in a bounded queue before the deadline."""

    code = MemErrors.ERR_QUEUE_FULL


class LockLostError(MemSyncError):
    """The lock which the write relied on is no longer held."""

    code = MemErrors.ERR_LOCK_LOST


class WriteTimeoutError(MemSyncError, TimeoutError):
    """No answer before the deadline; the write stays pending and may still be applied."""

    code = MemErrors.ERR_WRITE_TIMEOUT
    outcome: Outcome = "unknown"


class WriteConcernError(MemSyncError, TimeoutError):
    """Applied, but fewer members than wanted confirmed it before the deadline."""

    code = MemErrors.ERR_WRITE_CONCERN
    outcome: Outcome = "applied"
    version: int | None = None
    wanted: Any = None
    reached: Any = None


class LockTimeoutError(MemSyncError, TimeoutError):
    """The lock was not free before the deadline."""

    code = MemErrors.ERR_LOCK_TIMEOUT


class WaitTimeoutError(MemSyncError, TimeoutError):
    """The awaited state did not come before the deadline."""

    code = MemErrors.ERR_WAIT_TIMEOUT


class NoSuchMethodError(MemSyncError, LookupError):
    """No peer offers the method."""

    code = MemErrors.ERR_NO_METHOD


class RpcError(MemSyncError):
    """The remote method raised something that could not be raised here as it is."""

    code = MemErrors.ERR_RPC
    outcome: Outcome = "applied"
    remote_type: str | None = None
    remote_traceback: str | None = None


class RpcTimeoutError(MemSyncError, TimeoutError):
    """The remote method did not answer before the deadline."""

    code = MemErrors.ERR_RPC_TIMEOUT
    outcome: Outcome = "unknown"


class PeerLostError(MemSyncError, ConnectionError):
    """The peer that was to run the call has gone."""

    code = MemErrors.ERR_PEER_LOST
    outcome: Outcome = "unknown"


class RendezvousError(MemSyncError):
    """The rendezvous folder or one of its files cannot be used."""

    code = MemErrors.ERR_RENDEZVOUS


class HostUnresponsiveError(MemSyncError, TimeoutError):
    """Somebody holds the object but does not answer; ``pid`` is who."""

    code = MemErrors.ERR_HOST_UNRESPONSIVE
    pid: int | None = None


class ProtocolError(MemSyncError):
    """The other side speaks another protocol number, or what it sent is no message."""

    code = MemErrors.ERR_PROTOCOL


class AuthenticationFailedError(MemSyncError):
    """The authkey differs from the group's."""

    code = MemErrors.ERR_AUTH


class StorageError(MemSyncError, OSError):
    """The file or the journal could not be read or written."""

    code = MemErrors.ERR_STORAGE


_BY_CODE: dict[str, type[MemSyncError]] = {
    cls.code.value: cls for cls in MemSyncError.__subclasses__()
}


def to_wire(error: MemSyncError) -> list[Any]:
    """The error as ``[code, message, fields]``, all of it JSON."""
    return [error.code.value, str(error), error.fields]


def from_wire(wire: list[Any]) -> MemSyncError:
    """The error that `to_wire` described."""
    code, message, fields = wire
    return _BY_CODE[code](message, **fields)
