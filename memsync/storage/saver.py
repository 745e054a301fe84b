"""Saving: the thread of a host that keeps the file up to date.

The first change after a save begins a pause, ``file.debounce``; what comes until its end is saved
at once. A save that takes long is followed by a longer pause, so that a large object under constant
writes does not take the host's time. An error is reported in the status and by one log line, and
the next attempt follows by itself.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

from ..clocks import monotonic, wall_ms
from ..errors import StorageError
from ..replication.group_options import group_value
from ..replication.kinds.patch import PatchKind
from ..runtime.flushes import Answer, HostEnded, Outcome
from ..runtime.logs import Logger
from ..runtime.native import get_ident
from ..runtime.own_threads import OwnThread
from ..runtime.participant import Participant
from ..runtime.wakeup import Wakeup
from .capture import Capture, Interrupted, Summed
from .open_target import open_target
from .snapshot_file import Pair, cluster_at, pair_at
from .targets import NotHost, Target

log = Logger("memsync.storage")

RETRY = 0.5
"""Seconds until the next attempt after an error, doubled each time."""
LONGEST_RETRY = 10.0
REST = 4.0
"""The pause after a save, as a multiple of the time that it took."""
LAST_TRIES = 5
"""Attempts of the last save, each of which finds that the copy was replaced meanwhile."""

MayWrite = Callable[[], bool]
"""Whether this process is still the host, by the folder; any thread."""


def stored_at(participant: Participant) -> str | None:
    """Where the group saves its object; None if it does not."""
    path: str | None = group_value(participant.state.options, "file.path")
    return path


def target_of(participant: Participant) -> Target | None:
    """The target of the group, as its founder states it."""
    path = stored_at(participant)
    return None if path is None else _target(path, participant.state.options)


def _target(path: str, stated: Any) -> Target:
    return open_target(path, fenced=group_value(stated, "file.fencing") != "off")


class Saver:
    """Saves the object of a host from `start` to `stop`."""

    def __init__(
        self, participant: Participant, may_write: MayWrite, reported: Callable[[], None]
    ) -> None:
        self._participant = participant
        self._may_write = may_write
        self._reported = reported  # called by the thread when the status has changed
        self._target: Target | None = None
        self._debounce = float(group_value(participant.state.options, "file.debounce"))
        self._is_changed = True  # a new host saves at once: from then on, older ones are fenced
        self._changed_at = monotonic() - self._debounce
        self._ended_at = self._took = 0.0  # when the last save ended, and its seconds
        self._attempt_at = 0.0  # when to try again after an error
        self._retry = RETRY
        self._requests: deque[Answer] = deque()
        self._wake = Wakeup()
        self._ends = self._saves_at_end = False
        self.is_over = self.is_saving = False
        self._saved_pair: Pair = (0, 0)
        self._same_until = 0  # no entry from the saved version to this one is a patch
        self.on_saved: Callable[[Pair, int], None] | None = None
        """Called by the thread after a save, with its pair and the CRC-32 of the file."""
        self.saved_version: int | None = None
        self.saved_at: float | None = None  # seconds since 1970
        self.error: str | None = None
        self._has_reported = False
        self._thread = OwnThread(self._run, "memsync-saver")
        self._on_end: Callable[[], None] | None = None

    # -- any thread ------------------------------------------------------------------------------

    def start(self) -> None:
        self._participant.on_change = self.touch
        self._thread.start()

    def touch(self) -> None:
        """The document may have changed; called by the thread that plays the role."""
        if not self._is_changed:
            self._is_changed, self._changed_at = True, monotonic()
            self._wake.set()

    def go_on(self, may_write: MayWrite) -> None:
        """The same host has begun another epoch, perhaps with another copy of the object."""
        self._may_write = may_write
        self.touch()

    def request(self, answer: Answer) -> None:
        """Save now, and call `answer` when what is in the object by now is durable."""
        self._requests.append(answer)
        self._wake.set()
        if self.is_over:
            self._answer_all(_ended())

    def stop(self, *, saves: bool, on_end: Callable[[], None] | None = None) -> None:
        """End the thread; with `saves`, after what has changed is saved. Does not wait."""
        self._participant.on_change = None
        self._saves_at_end, self._on_end, self._ends = saves, on_end, True
        self._wake.set()

    def give_up(self, timeout: float) -> None:
        """After `stop`: nobody waits for the end any longer."""
        self.error = f"the last changes are not saved within {timeout:g} s"
        log.error("the last changes of %s are not saved within %g s", self._name(), timeout)
        self.stop(saves=False)

    def join(self, timeout: float) -> None:
        """Wait for the end of the thread (seconds)."""
        if self._thread.ident not in (None, get_ident()):
            self._thread.join(timeout)

    def status(self) -> dict[str, Any]:
        """The part of the status that is about storage."""
        target = self._target
        return {
            "url": stored_at(self._participant),
            "saved_version": self.saved_version,
            "saved_at": self.saved_at,
            "error": self.error,
            "fencing": None if target is None else target.fencing,
        }

    # -- the thread ------------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            while not self._ends:
                due = self._next_save()
                if due is not None and (self._requests or monotonic() >= due):
                    self._save_once()
                elif due is None and self._requests:
                    self._answer_saved()
                else:
                    self._wake.wait(None if due is None else due - monotonic())
            self._save_last()
        except Exception:
            log.exception("saving %s has ended", self._name())
            self._note("saving has ended: see the log")
        finally:
            self.is_over = True
            self._answer_all(None if self._is_all_saved() else _ended())
            if self._on_end is not None:
                self._on_end()

    def _answer_saved(self) -> None:
        """No change is known: what is asked for is saved, or comes to be known now."""
        waiting = self._take_requests()
        if not self._is_changed and (self._has_changed() or not self._is_there()):
            self.touch()
        if self._is_changed:
            self._requests.extendleft(reversed(waiting))
            return
        for answer in waiting:
            answer(None)

    def _has_changed(self) -> bool:
        """Whether the document may have changed since the last save.

        A program can see a change in `mem.data`, and ask for a flush, before `touch` is called.
        """
        version = self._participant.state.version
        base, entries = self._participant.log.held_above(self._same_until)
        same = {each.version for each in entries if each.kind != PatchKind.name}
        if base > self._same_until or len(same) < version - self._same_until:
            return True
        self._same_until = version
        return False

    def _is_there(self) -> bool:
        """Whether the file is still what was saved; somebody may have removed it."""
        try:
            start = self._target.read_start() if self._target is not None else None
        except StorageError:
            return False
        return pair_at(start) == self._saved_pair

    def _save_last(self) -> None:
        """At the end: save what has changed, if that is asked for, and say if it is not saved."""
        for tries_left in reversed(range(LAST_TRIES)):
            if not self._saves_at_end or self._is_all_saved():
                return
            error = self._save_once()
            if isinstance(error, NotHost):
                return  # another one saves, or `stop` has waited for too long
            if error is not None and not (tries_left and isinstance(error, Interrupted)):
                self.error = str(error)
                log.error("the last changes of %s are not saved: %s", self._name(), error)
                return

    def _take_requests(self) -> list[Answer]:
        return [self._requests.popleft() for _ in range(len(self._requests))]

    def _next_save(self) -> float | None:
        """When to save (monotonic seconds); None while nothing has changed."""
        if self.error is not None:
            return self._attempt_at
        if not self._is_changed:
            return None
        rested_at = self._ended_at + REST * self._took
        return max(self._changed_at + self._debounce, rested_at)

    def _is_all_saved(self) -> bool:
        return not self._is_changed and self.error is None

    def _save_once(self) -> Exception | None:
        """One attempt, whose outcome goes to the status and to those that wait for it.

        Returns why nothing was saved, if so.
        """
        waiting = self._take_requests()
        began, self.is_saving = monotonic(), True
        failure: StorageError | None = None
        try:
            self._save()
        except (Interrupted, NotHost) as error:  # the next version, perhaps by the next host
            self._is_changed = True
            self._requests.extendleft(reversed(waiting))
            self._wake.wait(RETRY if isinstance(error, NotHost) else min(self._debounce, RETRY))
            return error
        except StorageError as error:
            failure = error
        except Exception as error:  # of a library
            failure = StorageError(f"{stored_at(self._participant)}: {error!r}")
            failure.__cause__ = error
        finally:
            self.is_saving = False
        self._ended_at = monotonic()
        self._took = self._ended_at - began
        if failure is None:
            self._retry = RETRY
            self._note(None)
        else:
            self._attempt_at = self._ended_at + self._retry
            self._retry = min(2 * self._retry, LONGEST_RETRY)
            self._note(str(failure))
        for answer in waiting:
            answer(failure)
        return failure

    def _save(self) -> None:
        if self._target is None:
            self._target = target_of(self._participant)
        target = self._target
        assert target is not None, "there is a saver only for a file"
        target.prepare()
        self._is_changed = False
        try:
            capture = Capture(self._participant)
            try:
                now = wall_ms()
                pieces = Summed(capture.pieces(now))
                target.write(pieces, lambda start: self._check(capture.pair, start))
            finally:
                capture.close()
        except BaseException:
            self._is_changed = True
            raise
        self.saved_version, self.saved_at = capture.pair[1], now / 1000
        self._saved_pair, self._same_until = capture.pair, capture.pair[1]
        if self.on_saved is not None:
            self.on_saved(capture.pair, pieces.crc)

    def _check(self, pair: Pair, start: bytes | None) -> None:
        """Raise unless this process is the host and what is saved is not newer."""
        if not self._may_write():
            raise NotHost("this process is no longer the host, so it does not save")
        saved, cluster, own = pair_at(start), cluster_at(start), self._participant.state.cluster_id
        is_others = cluster not in ("", own)
        # Two groups of one epoch were founded at the same time: the file is the first one's.
        if cluster < own if is_others and saved[0] == pair[0] else saved > pair:
            raise StorageError(
                f"{stored_at(self._participant)} holds version {saved[1]} of epoch {saved[0]} of "
                f"{'another' if is_others else 'this'} group, which is not older than version "
                f"{pair[1]} of epoch {pair[0]} here: if another group saves there, give one of the "
                "two another file.path; if the file was put there by hand, move it away"
            )

    def _note(self, error: str | None) -> None:
        """Set the error, and report a change of it; log the first one after a success."""
        had, self.error = self.error, error
        if error is not None and had is None:
            log.error("cannot save %s, trying again: %s", self._name(), error)
        elif error is None and had is not None:
            log.info("saving again %s version=%s", self._name(), self.saved_version)
        if error != had or not self._has_reported:
            self._has_reported = True
            self._reported()

    def _answer_all(self, error: Outcome) -> None:
        while self._requests:
            try:
                answer = self._requests.popleft()
            except IndexError:  # another thread was faster
                return
            answer(error)

    def _name(self) -> str:
        return f"name={self._participant.name} url={stored_at(self._participant)}"


def _ended() -> HostEnded:
    return HostEnded("the host has stopped saving: another one may be about to go on")
