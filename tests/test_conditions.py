"""`until`: it waits for a condition, and judges it after its time, not before."""

from __future__ import annotations

import time

import pytest

from memsync.testing import until


def test_a_condition_that_came_true_while_the_process_was_suspended_is_seen() -> None:
    looks: list[bool] = []

    def condition() -> bool:
        looks.append(bool(looks))
        if len(looks) == 1:
            time.sleep(0.1)  # as if another process had the processor
        return looks[-1]

    assert until(condition, timeout=0.01)


def test_a_condition_that_stays_false_fails_with_the_message() -> None:
    with pytest.raises(AssertionError, match=r"after 0\.01 s: it is 7"):
        until(lambda: False, timeout=0.01, message=lambda: "it is 7")
