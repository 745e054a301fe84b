"""memsync: Python processes share one JSON-like object; no server to install.

The names a program needs are here; see `MemSync`.
"""

__version__ = "0.1.0"

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
