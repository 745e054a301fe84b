"""A stream at the caller: the items of a generator method, one by one."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

from ..clocks import monotonic
from ..errors import ProtocolError
from ..lasting import lasting
from ..runtime.wakeup import Wakeup
from .context import CurrentCall
from .messages import End, Failure, Item, Payload, Progress, Result
from .outcomes import Behind, Cancelled, Description, Ending, Expired
from .stream_window import CREDIT_BYTES, CREDIT_ITEMS, ITEMS_MAX
from .versions import Versions


@lasting
class Buffer:
    """What has come of a stream and was not consumed; the link fills it, and keeps no `Stream`."""

    def __init__(self, parent: CurrentCall | None) -> None:
        self.items: deque[Item] = deque()
        self.received = 0
        self.outcome: Result | End | Ending | None = None
        self.progress: Progress | None = None
        self.wakeup = Wakeup()
        self._parent = parent

    def add(self, item: Item) -> None:
        """The next item; raises `ProtocolError` if the callee sends more than it may."""
        if len(self.items) > ITEMS_MAX:
            raise ProtocolError(f"a stream has more than {ITEMS_MAX} items that nobody asked for")
        self.items.append(item)
        self.received += 1
        self.wakeup.set()

    def done(self) -> bool:
        """Whether the stream has ended."""
        return self.outcome is not None

    def settle(self, outcome: Result | End | Ending) -> None:
        """The stream has ended. Never blocks."""
        self.outcome = outcome
        if self._parent is not None:
            self._parent.remove_nested(self)
        self.wakeup.set()

    def report(self, progress: Progress) -> None:
        """The method has reported how far it is."""
        self.progress = progress


@lasting
class Stream(Iterator[Any]):
    """The iterator that `MemSync.call` returns for a generator method.

    `close`, the end of a ``with`` block, and the end of the last reference to it cancel the
    generator at the callee, which gets `GeneratorExit` at its ``yield``. At most 16 items are under
    way, and about 1 MiB, so a consumer that pauses has the generator pause. Not to be shared by
    several threads.
    """

    def __init__(
        self,
        buffer: Buffer,
        description: Description,
        deadline: float | None,
        versions: Versions,
        *,
        acknowledge: Callable[[int], None],
        end: Callable[[Ending], None],
        abandon: Callable[[str], None],
    ) -> None:
        self._buffer = buffer
        self._description = description
        self._deadline = deadline  # of the whole stream
        self._versions = versions
        self._acknowledge = acknowledge
        self._end = end
        self._abandon = abandon
        self._acknowledged = 0
        self._owes_credit = False  # for a large item
        self._has_raised = False

    def __repr__(self) -> str:
        state = "under way" if self._buffer.outcome is None else "ended"
        return f"<Stream of {self._description.method!r}, {state}>"

    @property
    def progress(self) -> tuple[float, float | None, str] | None:
        """The last ``(done, total, note)`` that the method has reported, or None."""
        last = self._buffer.progress
        return None if last is None else (last.done, last.total, last.note)

    def __next__(self) -> Any:
        """The next item; raises as `CallFuture.result` does, and then ends."""
        self._description.check_process()
        payload = self._next_payload()
        try:
            return self._description.value(payload, "an item of it")
        except BaseException:
            self.close()
            raise

    def _next_payload(self) -> Payload:
        buffer = self._buffer
        until = monotonic() + self._description.seconds
        if self._deadline is not None:
            until = self._deadline
        while True:
            is_complete = buffer.outcome is not None  # before the items: none follows the outcome
            if buffer.items:
                if not self._has_seen(buffer.items[0], until):
                    self.close()
                    raise self._description.error(Behind())
                self._owes_credit |= len(buffer.items[0].payload.data) >= CREDIT_BYTES
                payload = buffer.items.popleft().payload
                self._give_credit()
                return payload
            if is_complete:
                self._raise_end(until)
            self._description.check_wait()
            if self._owes_credit:  # an interrupt came between two steps
                self._give_credit()
            if not buffer.wakeup.wait(until - monotonic()) and monotonic() >= until:
                self._end(Expired())

    def _has_seen(self, message: Item | End | Failure, until: float) -> bool:
        """Whether this peer has what the callee had seen, at `until` (monotonic seconds)."""
        pair, versions = (message.epoch, message.version), self._versions
        if versions.pair() >= pair:
            return True
        self._description.check_wait()
        return versions.wait(pair, until - monotonic()) or versions.has_stopped()

    def _give_credit(self) -> None:
        # Counted from what is there, because an interrupt may come between two steps.
        consumed = self._buffer.received - len(self._buffer.items)
        is_due = self._owes_credit or consumed - self._acknowledged >= CREDIT_ITEMS
        if is_due and self._buffer.outcome is None:
            self._acknowledged = consumed
            self._acknowledge(consumed)
        self._owes_credit = False

    def _raise_end(self, until: float) -> None:
        outcome = self._buffer.outcome
        if self._has_raised or isinstance(outcome, Result) or outcome is None:
            raise StopIteration
        has_seen = not isinstance(outcome, (End, Failure)) or self._has_seen(outcome, until)
        self._has_raised = True
        if isinstance(outcome, End):
            if has_seen:
                raise StopIteration
            outcome = Behind()
        raise self._description.error(outcome)

    def close(self) -> None:
        """Cancel the stream; may be called twice, and by another thread."""
        self._has_raised = True
        self._end(Cancelled("by close()"))
        self._buffer.items.clear()

    def __enter__(self) -> Stream:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def __del__(self) -> None:
        # At any instruction of any thread: only what neither blocks nor takes a lock.
        self._abandon("the caller has left the stream")
