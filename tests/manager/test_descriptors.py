"""A call that needs a descriptor is tried again while there is none, and not for ever."""

from __future__ import annotations

import errno
from itertools import count

import pytest

from memsync.manager.platform import descriptors
from memsync.manager.platform.descriptors import hint, patiently


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM])
def test_a_call_goes_through_when_there_is_a_descriptor_again(number: int) -> None:
    left = [2]

    def scarce(answer: str) -> str:
        if left[0]:
            left[0] -= 1
            raise OSError(number, "none left")
        return answer

    assert patiently(10, scarce, "done") == "done"


@pytest.mark.parametrize(("number", "times"), [(errno.EMFILE, 3), (errno.ENOENT, 1)])
def test_a_shortage_that_lasts_and_any_other_error_are_raised(
    number: int, times: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(descriptors, "monotonic", count().__next__)  # a second at each look
    error = OSError(number, "on purpose")
    calls = []

    def fail() -> None:
        calls.append(1)
        raise error

    with pytest.raises(OSError, match="on purpose") as caught:
        patiently(2, fail)
    assert caught.value is error
    assert len(calls) == times
    assert ("ulimit -n" in hint(error, "look there")) == (number == errno.EMFILE)
