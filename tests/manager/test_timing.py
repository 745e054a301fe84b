"""The relations between the tuning constants hold, and a change that breaks one is refused."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from memsync.manager.timing import TIMING

# One change that breaks each relation, in the order of `Timing.relations`.
BREAKING: list[dict[str, float]] = [
    {"longest_pause": TIMING.survivors},
    {"longest_check": TIMING.survivors},
    {"successor": TIMING.handover},
    {"handover_check": TIMING.successor},
    {"close": TIMING.handover},
    {"report_check": TIMING.awake},
    {"suspicious_check": TIMING.blink},
    {"step_down_answers": TIMING.step_down_pings + 1},
    {"step_down_pause": TIMING.step_down_pings * TIMING.step_down_rhythm},
    {"quick_answer": TIMING.step_down_rhythm},
    {"lag_moments": TIMING.interest / TIMING.lag_step},
    {"late": TIMING.lag_step},
    {"descriptor_retry": TIMING.descriptors},
    {"handshake_grace": TIMING.dial / 10 + 0.001},
    {"fetch_check": TIMING.fetch},
    {"stall_check": TIMING.stall},
    {"accept_idle": TIMING.thread_stop},
    {"close_check": TIMING.close},
    {"late_moments": TIMING.lag_moments},
    {"fence_check": TIMING.fence},
    {"first_check": TIMING.longest_check},
    {"fair_search": TIMING.longest_check},
    {"first_pause": TIMING.longest_pause},
]


def test_every_relation_holds_and_says_why() -> None:
    assert all(holds and why for holds, why in TIMING.relations())
    assert len(TIMING.relations()) == len(BREAKING)


@pytest.mark.parametrize("number", range(len(BREAKING)))
def test_a_broken_relation_raises_with_its_reason(number: int) -> None:
    _, why = TIMING.relations()[number]
    with pytest.raises(AssertionError, match=why):
        replace(TIMING, **BREAKING[number])
