"""A waker: a thread that waits in a selector is woken, whatever interrupted an earlier wake-up."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest

from memsync.manager.platform.waker import Waker
from memsync.testing import PATIENCE


class Interrupted:
    """A descriptor at which an exception comes before anything is sent, or after it, once."""

    def __init__(self, file: Any, error: BaseException, *, sends: bool) -> None:
        self.file = file
        self.error: BaseException | None = error
        self.sends = sends

    def write(self, data: bytes) -> int:
        error, self.error = self.error, None
        if error is not None and not self.sends:
            raise error
        sent = self.file.write(data)
        if error is not None:
            raise error
        return int(sent)

    def close(self) -> None:
        self.file.close()


@pytest.fixture
def waker() -> Iterator[Waker]:
    waker = Waker()
    yield waker
    waker.close()


@pytest.mark.parametrize("error", [KeyboardInterrupt(), RuntimeError("of a signal handler")])
@pytest.mark.parametrize("sends", [False, True])
def test_an_interrupted_wake_up_does_not_disable_the_next(
    waker: Waker, error: BaseException, sends: bool
) -> None:
    waker._writing = Interrupted(waker._writing, error, sends=sends)  # type: ignore[assignment]
    with pytest.raises(type(error)):
        waker.wake()
    waker.wake()
    begin = time.monotonic()
    waker.pause(PATIENCE)
    assert time.monotonic() - begin < PATIENCE


def test_a_closed_waker_wakes_nobody(waker: Waker) -> None:
    waker._writing.close()
    waker.wake()
