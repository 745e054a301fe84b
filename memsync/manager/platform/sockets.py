"""Sockets, polls and sleep of the system, also where gevent or eventlet has replaced them.

Without such a library these names are those of the standard library; see `runtime/native.py`.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from ...runtime.native import LIBRARY

__all__ = [
    "Connection",
    "accept",
    "epoll",
    "listeners",
    "poll",
    "sleep",
    "socket",
]

if TYPE_CHECKING or not LIBRARY:
    from contextlib import nullcontext as listeners
    from multiprocessing.connection import Connection
    from select import poll
    from socket import socket
    from time import sleep

    if sys.platform == "linux":
        from select import epoll
    else:
        epoll = None

    def accept(listening: socket) -> socket:
        """The next connection of a listening socket."""
        return listening.accept()[0]

else:
    from ...runtime.green import (
        Connection,
        accept,
        epoll,
        listeners,
        poll,
        sleep,
        socket,
    )
