"""The places for handshakes: who has to wait, and whose place is taken."""

from __future__ import annotations

import os
import socket
from multiprocessing.connection import Connection

import pytest
from msgspec.structs import replace

from memsync.manager.timing import TIMING
from memsync.manager.transport import handshakes
from memsync.manager.transport.handshakes import Handshakes


def test_a_place_that_a_thread_does_not_give_back_in_time_is_not_given_away(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(handshakes, "TIMING", replace(TIMING, handshake_grace=0))
    places = Handshakes(1)
    with socket.socket(socket.AF_UNIX) as one, socket.socket(socket.AF_UNIX) as other:
        first, second = Connection(os.dup(one.fileno())), Connection(os.dup(other.fileno()))
        assert places.begin(first)
        assert not places.begin(second)
        places.end(first)
        assert places.begin(second)
        first.close()
        second.close()
