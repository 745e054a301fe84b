"""The tree of errors, and the outcome of the write that each one reports.

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

Every error has a ``code`` (a member of `MemErrors`) and an ``outcome``: the write is
``"not_applied"``, ``"applied"`` or ``"unknown"``. Of a remote call, it says whether the method has
run. So an error that the method raises has the outcome ``"applied"`` at the caller, and a note with
the outcome of what the method did. All errors can be pickled.
"""

from __future__ import annotations

from enum import Enum
from typing import Any, Literal

Outcome = Literal["not_applied", "unknown", "applied"]


class MemErrors(str, Enum):
    """The codes of all errors; each value is the name."""

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
    """The base class of all memsync errors.

    `fields` are facts for programs (``path``, ``version`` ...). They become attributes, and travel
    between processes together with the message.
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
        """The fields given to the constructor."""
        return {name: value for name, value in vars(self).items() if not name.startswith("_")}


class UsageError(MemSyncError, ValueError):
    """A wrong call: an argument, a name, the order of calls.

    ``oldest`` and ``newest`` are the versions between which `MemSync.at` can choose.
    """

    code = MemErrors.ERR_USAGE
    oldest: int | None = None
    newest: int | None = None


class OptionsError(MemSyncError, ValueError):
    """An option is unknown, has the wrong type, or differs from the group's.

    ``key`` names the option, ``nearest`` what was probably meant, and ``source`` the file, variable
    or argument; None where there is none.
    """

    code = MemErrors.ERR_OPTIONS
    key: str | None = None
    nearest: str | None = None
    source: str | None = None


class NotStartedError(MemSyncError):
    """The handle is in no group: it was not started, or has stopped."""

    code = MemErrors.ERR_NOT_STARTED


class UpdateError(MemSyncError, ValueError):
    """An update, query or patch that cannot be applied to the document.

    ``kind`` names the broken rule, ``path`` the place, ``server_code`` the error code of MongoDB.
    """

    code = MemErrors.ERR_UPDATE
    kind: str = "bad_value"
    path: str | None = None
    server_code: int | None = None


class NotSerializableError(MemSyncError, TypeError):
    """A value that JSON cannot hold, at ``path``."""

    code = MemErrors.ERR_NOT_SERIALIZABLE
    path: str | None = None


class TooLargeError(MemSyncError):
    """A message or value exceeds a limit in the options."""

    code = MemErrors.ERR_TOO_LARGE


class ReadOnlyError(MemSyncError, PermissionError):
    """This peer does not have the role ``writer``."""

    code = MemErrors.ERR_READ_ONLY


class MaxWritersError(MemSyncError):
    """Living processes take all writers' places.

    ``limit`` is the number of places. ``holders`` are the peers that have them, each ``{"id",
    "pid", "since"}``; ``since`` is in seconds since 1970, None where it is not known.
    """

    code = MemErrors.ERR_MAX_WRITERS
    limit: int | None = None
    holders: list[dict[str, Any]] | None = None


class ConflictError(MemSyncError):
    """A write lost against a write that it had not seen, or a ``test`` in it failed.

    ``path`` is the place (an RFC 6901 pointer), ``value`` the value there now, ``version`` the
    version at which the write was refused. ``patches`` are the patches since the version on which
    the write was made, the newest 1,000 of 1 MiB at most; each is
    ``{"version", "epoch", "peer", "patch"}``.
    """

    code = MemErrors.ERR_CONFLICT
    path: str | None = None
    version: int | None = None
    value: Any = None
    patches: list[Any] | None = None


class ConditionError(MemSyncError):
    """``where`` does not match the host's state; nothing was changed."""

    code = MemErrors.ERR_CONDITION
    version: int | None = None
    value: Any = None


class QueueFullError(MemSyncError):
    """A bounded queue stayed full until the deadline."""

    code = MemErrors.ERR_QUEUE_FULL


class LockLostError(MemSyncError):
    """The lock on which the write relies is no longer held."""

    code = MemErrors.ERR_LOCK_LOST


class WriteTimeoutError(MemSyncError, TimeoutError):
    """No answer before the deadline; the write stays pending and may still be applied."""

    code = MemErrors.ERR_WRITE_TIMEOUT
    outcome: Outcome = "unknown"


class WriteConcernError(MemSyncError, TimeoutError):
    """Applied, but too few members confirmed it before the deadline."""

    code = MemErrors.ERR_WRITE_CONCERN
    outcome: Outcome = "applied"
    version: int | None = None
    wanted: Any = None
    reached: Any = None


class LockTimeoutError(MemSyncError, TimeoutError):
    """The lock was not free before the deadline.

    ``holder``, a peer, and ``pid`` name the holder, and ``since`` the time (seconds since 1970).
    """

    code = MemErrors.ERR_LOCK_TIMEOUT
    holder: str | None = None
    pid: int | None = None
    since: float | None = None


class WaitTimeoutError(MemSyncError, TimeoutError):
    """The object did not satisfy the condition before the deadline."""

    code = MemErrors.ERR_WAIT_TIMEOUT


class NoSuchMethodError(MemSyncError, LookupError):
    """No peer offers the method."""

    code = MemErrors.ERR_NO_METHOD


class RpcError(MemSyncError):
    """The remote method raised an exception that cannot be raised here.

    ``remote_type`` is its class and ``remote_traceback`` its traceback as text, with its chain.
    """

    code = MemErrors.ERR_RPC
    outcome: Outcome = "applied"
    remote_type: str | None = None
    remote_traceback: str | None = None


class RpcTimeoutError(MemSyncError, TimeoutError):
    """The remote method did not answer before the deadline; it was cancelled there.

    ``peer`` should have answered, ``method`` was called, and ``seconds`` were allowed.
    """

    code = MemErrors.ERR_RPC_TIMEOUT
    outcome: Outcome = "unknown"
    peer: str | None = None
    method: str | None = None
    seconds: float | None = None


class PeerLostError(MemSyncError, ConnectionError):
    """The peer that runs the call is gone.

    ``peer`` and ``pid`` name it, ``method`` and ``arguments`` (text, cut) the call, which had run
    for ``seconds``.
    """

    code = MemErrors.ERR_PEER_LOST
    outcome: Outcome = "unknown"
    peer: str | None = None
    pid: int | None = None
    method: str | None = None
    arguments: str | None = None
    seconds: float | None = None


class RendezvousError(MemSyncError):
    """The rendezvous folder or one of its files cannot be used."""

    code = MemErrors.ERR_RENDEZVOUS


class HostUnresponsiveError(MemSyncError, TimeoutError):
    """The process ``pid`` holds the object but did not answer in time."""

    code = MemErrors.ERR_HOST_UNRESPONSIVE
    pid: int | None = None


class ProtocolError(MemSyncError):
    """The other side uses another protocol version, or sent an invalid message."""

    code = MemErrors.ERR_PROTOCOL


class AuthenticationFailedError(MemSyncError):
    """The authkey differs from the group's."""

    code = MemErrors.ERR_AUTH


class StorageError(MemSyncError, OSError):
    """The file or the journal cannot be read or written."""

    code = MemErrors.ERR_STORAGE


# `importlib.reload` keeps the classes, so that a program's `except` catches what is raised then.
if "_BY_CODE" not in globals():
    _BY_CODE: dict[str, type[MemSyncError]] = {
        cls.code.value: cls for cls in MemSyncError.__subclasses__()
    }
    _CODES, _BASE = MemErrors, MemSyncError
globals().update({cls.__name__: cls for cls in _BY_CODE.values()})
globals().update(MemErrors=_CODES, MemSyncError=_BASE)


def to_wire(error: MemSyncError) -> list[Any]:
    """The error as ``[code, message, fields]``, all of it JSON."""
    return [error.code.value, str(error), error.fields]


def from_wire(wire: list[Any]) -> MemSyncError:
    """The error that `to_wire` described."""
    code, message, fields = wire
    return _BY_CODE[code](message, **fields)
