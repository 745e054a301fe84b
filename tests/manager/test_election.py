"""What a peer says that has found no role in time."""

from __future__ import annotations

from contextlib import ExitStack
from itertools import chain, repeat
from pathlib import Path

import pytest

from memsync import HostUnresponsiveError
from memsync.manager.election.election import Election
from memsync.manager.platform.task import run_task

from .builders import new_context


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (10.0, "does not answer; continue or end that process, then start again"),
        (0.1, "had not the time to answer: start again with a longer timeout"),
        (0.0, "had not the time to answer: start again with a longer timeout"),
    ],
)
def test_a_host_is_blamed_only_if_it_had_the_time_to_answer(
    folder: Path, monkeypatch: pytest.MonkeyPatch, seconds: float, text: str
) -> None:
    with new_context(folder) as ctx, ExitStack() as undo:
        lock = ctx.place.folder.publish_lock(1, "host", 7, "/x")
        assert lock is not None
        undo.callback(lock.close)
        undo.callback(ctx.unwatch)
        times = chain([0.0], repeat(seconds + 1))
        monkeypatch.setattr(ctx.platform, "monotonic", lambda: next(times))
        with pytest.raises(
            HostUnresponsiveError, match=f"process 7, peer host.* {text}$"
        ) as caught:
            run_task(Election(ctx).find_role(seconds))
        assert caught.value.pid == 7
