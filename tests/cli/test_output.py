"""A command that goes on ends with the reader of its output."""

from __future__ import annotations

import os
import signal
import threading

import pytest

from memsync.cli.output import ends_with_reader


def run_command(reader: int, ended: list[str]) -> None:
    """A command that waits, and whose end takes a while."""
    with ends_with_reader():
        try:
            os.close(reader)
            threading.Event().wait(20)
        finally:
            os.kill(os.getpid(), signal.SIGURG)
            ended.append("well")


@pytest.mark.parametrize("lost", [0, 1, 2])
def test_it_ends_though_signals_are_lost(monkeypatch: pytest.MonkeyPatch, lost: int) -> None:
    """Python notes a signal that comes just before a wait in C only after that wait."""
    sent: list[int] = []
    ended: list[str] = []

    def send(thread: int, number: int) -> None:
        sent.append(number)
        if len(sent) > lost:
            os.kill(os.getpid(), number)

    reader, writer = os.pipe()
    monkeypatch.setattr(signal, "pthread_kill", send)
    with open(writer, "w") as output:
        monkeypatch.setattr("sys.stdout", output)
        with pytest.raises(BrokenPipeError):
            run_command(reader, ended)
    assert len(sent) > lost
    assert ended == ["well"]
