"""A peer's context without its driver, to test one part of the engine at a time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from memsync.manager.context import PeerContext
from memsync.manager.folder.peer_file import PeerPlace
from memsync.manager.platform.platform import Platform
from memsync.manager.timing import TIMING, Timing
from memsync.options import load_options
from memsync.replication.lease import Lease
from memsync.runtime.participant import Participant
from memsync.testing import NAME


@contextmanager
def new_context(folder: Path, peer: str = "me", timing: Timing = TIMING) -> Iterator[PeerContext]:
    """The context of a peer that has a place in the folder and no role yet."""
    options = load_options({}, environ={})
    platform = Platform()
    participant = Participant(peer, NAME, {"n": 0}, options, lambda *event: None, platform.wall_ms)
    with ExitStack() as undo:
        waker = platform.new_waker()
        undo.callback(waker.close)
        place = PeerPlace(folder, NAME, peer, platform.pid(), options, platform.files)
        undo.callback(place.close, remove=True)
        yield PeerContext(participant, platform, place, waker, Lease(3.0), timing)
