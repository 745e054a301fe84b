"""memsync: Python processes share one JSON-like object, without a server to run.

Start with `MemSync`. The names here are imported at first use, so `import memsync` takes a few
milliseconds.
"""

from typing import TYPE_CHECKING

from .lazy import lazy_names
from .version import __version__ as __version__

if TYPE_CHECKING:
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
    from .events import Events
    from .handle import MemSync
    from .locks import Lock, Semaphore
    from .presence import PeerPresence
    from .rpc.functions import idempotent
    from .runtime.announcer import Event, Gap
    from .runtime.dispatcher import Subscription
    from .runtime.observer import Change

__all__ = [
    "AuthenticationFailedError",
    "Change",
    "ConditionError",
    "ConflictError",
    "Event",
    "Events",
    "Gap",
    "HostUnresponsiveError",
    "Lock",
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
    "PeerPresence",
    "ProtocolError",
    "QueueFullError",
    "ReadOnlyError",
    "RendezvousError",
    "RpcError",
    "RpcTimeoutError",
    "Semaphore",
    "StorageError",
    "Subscription",
    "TooLargeError",
    "UpdateError",
    "UsageError",
    "WaitTimeoutError",
    "WriteConcernError",
    "WriteTimeoutError",
    "idempotent",
]

# The module of each name; all others are in `errors`.
_MODULES = dict.fromkeys(__all__, "errors") | {
    "Change": "runtime.observer",
    "MemSync": "handle",
    "Subscription": "runtime.dispatcher",
    "idempotent": "rpc.functions",
    "Event": "runtime.announcer",
    "Events": "events",
    "Lock": "locks",
    "PeerPresence": "presence",
    "Semaphore": "locks",
    "Gap": "runtime.announcer",
}

if not TYPE_CHECKING:  # a type checker that sees __getattr__ accepts every name
    __getattr__, __dir__ = lazy_names(__name__, _MODULES, ("document", "errors", "manager"))
