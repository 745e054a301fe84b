"""A call becomes a stream while another thread counts, cancels or forgets the calls of the link."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError
from typing import Any

import pytest

from memsync.rpc.caller import Caller
from memsync.rpc.future import CallFuture
from memsync.rpc.messages import Credit, End, Item, Message, Payload, Streaming
from memsync.rpc.outcomes import Cancelled
from memsync.rpc.service import Service
from memsync.rpc.stream import Stream
from memsync.testing import until


class SilentLink:
    """Records what is sent; the test is the callee."""

    peer, pid, max_bytes, is_open = "there", 4711, 1 << 20, True

    def __init__(self) -> None:
        self.sent: list[Message] = []

    def send(self, message: Message) -> None:
        self.sent.append(message)

    def close(self) -> None:
        self.is_open = False


Action = Callable[[Caller, CallFuture], object]
Opening = Callable[[str, Action], tuple[Caller, SilentLink, Any]]


@pytest.fixture
def opening(monkeypatch: pytest.MonkeyPatch) -> Iterator[Opening]:
    """The stream of a call that opens in the middle of an action, before a step of the future."""
    service = Service({}, threads=1, pickles=True)

    def opened(step: str, action: Action) -> tuple[Caller, SilentLink, Any]:
        link = SilentLink()
        caller = Caller(link, service, lambda *_: None)
        future = caller.start("count")
        original = getattr(CallFuture, step)

        def stepping(self: CallFuture, *args: Any) -> Any:
            monkeypatch.setattr(CallFuture, step, original)
            caller.received(Streaming(1))
            return original(self, *args)

        monkeypatch.setattr(CallFuture, step, stepping)
        action(caller, future)
        return caller, link, future.result(5)

    yield opened
    service.close(5)


@pytest.mark.parametrize(
    "action", [lambda caller, _: caller.calls, lambda caller, _: caller.retire()]
)
def test_a_thread_that_counts_calls_forgets_no_stream(opening: Opening, action: Action) -> None:
    caller, link, stream = opening("done", action)
    assert isinstance(stream, Stream)
    assert link.is_open
    assert caller.calls == 1
    for number in range(20):
        caller.received(Item(1, Payload(bytes([number]))))
        assert next(stream) == number
    assert any(type(message) is Credit for message in link.sent)
    caller.received(End(1))
    assert list(stream) == []
    assert caller.calls == 0


def test_a_stream_that_opens_meanwhile_ends_with_its_link(opening: Opening) -> None:
    caller, _, stream = opening("done", lambda caller, _: caller.calls)
    caller.lost("the other side closed the connection")
    with pytest.raises(Exception, match="the other side closed the connection"):
        next(stream)


@pytest.mark.parametrize(
    "action",
    [
        lambda caller, _: caller.end(1, Cancelled("by cancel()")),
        lambda _, future: future.end(Cancelled("by cancel()")),
    ],
)
def test_a_stream_that_opens_while_its_call_is_cancelled_ends(
    opening: Opening, action: Action
) -> None:
    caller, link, stream = opening("settle", action)
    until(lambda: any(type(message).__name__ == "Cancel" for message in link.sent))
    ended = threading.Event()

    def read() -> None:
        with pytest.raises(CancelledError):
            next(stream)
        ended.set()

    thread = threading.Thread(target=read, daemon=True)
    thread.start()
    assert ended.wait(5)
    assert caller.calls == 0
