"""memsync: Python processes share one JSON-like object; no server to install.

The names a program needs are here; see `MemSync`.
"""

from .dispatcher import Subscription
from .errors import (
    AuthenticationFailedError,
    ConditionError,
    ConflictError,
    HostUnresponsiveError,
    LockLostError,
    LockTimeoutError,
    MaxWritersError,
    MemErrors,
    MemSyncError,
    NoSuchMethodError,
    NotSerializableError,
    NotStartedError,
    OptionsError,
    PeerLostError,
    ProtocolError,
    QueueFullError,
    ReadOnlyError,
    RendezvousError,
    RpcError,
    RpcTimeoutError,
    StorageError,
    TooLargeError,
    UpdateError,
    UsageError,
    WaitTimeoutError,
    WriteConcernError,
    WriteTimeoutError,
)
from .peer import MemSync
from .version import __version__ as __version__

__all__ = [
    "AuthenticationFailedError",
    "ConditionError",
    "ConflictError",
    "HostUnresponsiveError",
    "LockLostError",
    "LockTimeoutError",
    "MaxWritersError",
    "MemErrors",
    "MemSync",
    "MemSyncError",
    "NoSuchMethodError",
    "NotSerializableError",
    "NotStartedError",
    "OptionsError",
    "PeerLostError",
    "ProtocolError",
    "QueueFullError",
    "ReadOnlyError",
    "RendezvousError",
    "RpcError",
    "RpcTimeoutError",
    "StorageError",
    "Subscription",
    "TooLargeError",
    "UpdateError",
    "UsageError",
    "WaitTimeoutError",
    "WriteConcernError",
    "WriteTimeoutError",
]
