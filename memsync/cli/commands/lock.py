"""``memsync lock``: a program runs while this process holds a named lock."""

from __future__ import annotations

import os
import signal
import socket
from contextlib import suppress
from types import FrameType
from typing import Any

from ...errors import LockLostError, MemSyncError, UsageError
from ...locks import timed_out
from ..exits import REFUSED
from ..group import join_time, joined
from ..output import Output, report

_PASSED_ON = (
    signal.SIGTERM,
    signal.SIGHUP,
    signal.SIGUSR1,
    signal.SIGUSR2,
    signal.SIGINT,
    signal.SIGQUIT,
)
_OF_TERMINALS = (signal.SIGINT, signal.SIGQUIT)
_NOT_FOUND, _NOT_EXECUTABLE = 127, 126  # as shells have it
_SIGNALLED = 128  # plus the number of the signal


def run(arguments: Any, out: Output) -> int:
    if not arguments.program or not arguments.program[0]:
        raise UsageError("the program is missing: memsync lock NAME LOCK -- PROGRAM [ARGUMENTS]")
    program = _Program()
    with joined(arguments.name, timeout=join_time(arguments.timeout)) as mem:
        lock = mem.lock(
            arguments.lock,
            arguments.timeout or None,  # see below for 0
            lease=arguments.lease,
            on_lost=lambda _: program.end(),
        )
        if arguments.timeout != 0:
            lock.acquire()
        elif not lock.acquire(blocking=False):  # which waits for the answer of the host
            raise timed_out(mem._participating(), "lock", arguments.lock, 0)
        environ = {**os.environ, "MEMSYNC_LOCK_TOKEN": str(lock.token)}
        try:
            status = program.run(arguments.program, environ)
        except OSError as error:
            status = _NOT_FOUND if isinstance(error, FileNotFoundError) else _NOT_EXECUTABLE
            message = f"{arguments.program[0]} cannot be run: {error.strerror}"
            return report(message, status, error, as_json=out.as_json)
        try:
            lock.release()  # waits for the answer of the host; a signal ends that
        except LockLostError as error:
            return report(str(error), REFUSED, error, as_json=out.as_json)
        except MemSyncError:
            pass  # there is no host at the moment; this peer leaves, which frees the lock
    return status if status >= 0 else _SIGNALLED - status


class _Program:
    """A program that runs in the place of this process: it gets all signals until it ends."""

    def __init__(self) -> None:
        self._child: int | None = None
        self._early: list[int] = []  # signals that came before the program ran
        self._before: dict[int, Any] = {}

    def run(self, words: list[str], environ: dict[str, str]) -> int:
        """Run it to its end; returns the exit status, or minus the signal that has ended it."""
        for number in _PASSED_ON:
            if signal.getsignal(number) is not signal.SIG_IGN:  # nohup and & have it ignored
                self._before[number] = signal.signal(number, self._pass_on)
        # Python ignores these two; the program is to find them as usual.
        defaults = (signal.SIGPIPE, signal.SIGXFSZ)
        try:
            self._child = child = os.posix_spawnp(words[0], words, environ, setsigdef=defaults)
            for early in self._early:
                self._send(early)
            return os.waitstatus_to_exitcode(self._wait(child))
        finally:
            self._child = None
            for each, handler in self._before.items():
                signal.signal(each, handler)

    def _wait(self, child: int) -> int:
        """The status of the program at its end.

        A signal that comes just before waitpid() blocks would be handled only after it. Whatever
        the moment, Python notes a signal in the wake-up descriptor.
        """
        ours, pythons = socket.socketpair()
        pythons.setblocking(False)
        before = signal.set_wakeup_fd(pythons.fileno(), warn_on_full_buffer=False)
        children = signal.signal(signal.SIGCHLD, lambda *_: None)
        try:
            while True:
                ended, status = os.waitpid(child, os.WNOHANG)
                if ended:
                    return status
                ours.recv(1 << 10)
        finally:
            signal.signal(signal.SIGCHLD, children)
            signal.set_wakeup_fd(before)
            ours.close()
            pythons.close()

    def end(self) -> None:
        """Ask it to end, also if it is only about to begin; any thread."""
        self._early.append(signal.SIGTERM)
        self._send(signal.SIGTERM)

    def _pass_on(self, number: int, frame: FrameType | None) -> None:
        if number in _OF_TERMINALS and _has_terminal():
            return  # the terminal has sent it to both
        if self._child is None:
            self._early.append(number)
        self._send(number)

    def _send(self, number: int) -> None:
        if self._child is not None:
            with suppress(ProcessLookupError):
                os.kill(self._child, number)


def _has_terminal() -> bool:
    """Whether this process is in the foreground of its terminal."""
    try:
        with open("/dev/tty") as terminal:
            return os.tcgetpgrp(terminal.fileno()) == os.getpgrp()
    except OSError:
        return False
