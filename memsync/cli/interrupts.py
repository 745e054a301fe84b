"""Ctrl-C while modules are imported, or words parsed: the process ends at once.

Nothing has begun by then that would have to be ended well. An interrupted import may leave modules
half made, and what an extension module makes of it is any error. The same goes for argparse.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn

INTERRUPTED = 130  # as in `exits`, which takes a while to import


@contextmanager
def importing() -> Iterator[None]:
    """In the block, Ctrl-C ends the process."""
    is_main = threading.current_thread() is threading.main_thread()
    if not is_main or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield  # it is ignored, or the program around the command handles it
        return
    signal.signal(signal.SIGINT, _end)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def _end(number: int, frame: FrameType | None) -> NoReturn:
    text = "memsync: interrupted\n"
    if "--json" in sys.argv:
        text = '{"error":null,"message":"interrupted","outcome":null,"status":130}\n'
    os.write(2, text.encode())
    os._exit(INTERRUPTED)
