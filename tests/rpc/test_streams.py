"""Generator methods: items one by one, a window, and an end wherever the consumer stops."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import queue
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from statistics import median
from typing import Any

import pytest

from memsync.errors import PeerLostError, ProtocolError, RpcError, RpcTimeoutError
from memsync.rpc.context import CurrentCall, current
from memsync.rpc.messages import Item, Payload
from memsync.rpc.stream import Buffer, Stream
from memsync.rpc.stream_window import BYTES_MAX, ITEMS_MAX
from memsync.testing import until

from .links import Peer, calling, give_time, peers


def consume_slowly(stream: Stream) -> None:
    for _ in stream:
        time.sleep(0.01)


class Source:
    """A generator method in both forms; `how` has what became of it."""

    def __init__(self) -> None:
        self.produced = 0
        self.how: list[str] = []
        self.ends: queue.SimpleQueue[float] = queue.SimpleQueue()

    def plain(self, most: int = 1_000_000) -> Iterator[int]:
        try:
            for number in range(most):
                self.produced += 1
                yield number
            self._end("complete")
        except GeneratorExit:
            self._end("left")
            raise

    async def later(self, most: int = 1_000_000) -> AsyncIterator[int]:
        try:
            for number in range(most):
                self.produced += 1
                yield number
            self._end("complete")
        except (GeneratorExit, asyncio.CancelledError):
            self._end("left")
            raise

    def _end(self, how: str) -> None:
        self.how.append(how)
        self.ends.put(time.monotonic())


KINDS = ["plain", "later"]


@pytest.fixture
def source() -> Source:
    return Source()


def methods(source: Source) -> dict[str, Callable[..., Any]]:
    return {"plain": source.plain, "later": source.later}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("most", [0, 1, ITEMS_MAX - 1, ITEMS_MAX, ITEMS_MAX + 1, 100])
def test_all_items_arrive_in_order(source: Source, kind: str, most: int) -> None:
    with calling(methods(source)) as caller:
        stream = caller.call(kind, (most,))
        assert isinstance(stream, Stream)
        assert list(stream) == [*range(most)]
        assert list(stream) == []
        assert source.how == ["complete"]
        assert caller.calls == 0
        assert "ended" in repr(stream)


@pytest.mark.parametrize("kind", KINDS)
def test_a_paused_consumer_pauses_the_generator(source: Source, kind: str) -> None:
    with calling(methods(source)) as caller:
        stream = caller.call(kind)
        until(lambda: source.produced == ITEMS_MAX)
        assert [next(stream) for _ in range(4)] == [0, 1, 2, 3]
        time.sleep(0.05)
        assert source.produced <= ITEMS_MAX + 4
        assert [next(stream) for _ in range(40)] == [*range(4, 44)]
        until(lambda: 44 <= source.produced <= 44 + ITEMS_MAX)
        stream.close()
        assert next(stream, None) is None


def leave_by_break(stream: Stream) -> None:
    for item in stream:
        if item == 3:
            break


def leave_by_close(stream: Stream) -> None:
    next(stream)
    stream.close()
    stream.close()


def leave_by_with(stream: Stream) -> None:
    with stream:
        next(stream)


def leave_by_exception(stream: Stream) -> None:
    with pytest.raises(KeyError), stream:
        raise KeyError


def leave_by_nothing(stream: Stream) -> None:
    pass


def leave_in_a_circle(stream: Stream) -> None:
    circle: list[Any] = [stream]
    circle.append(circle)
    del circle, stream
    gc.collect()


LEAVE = [
    leave_by_break,
    leave_by_close,
    leave_by_with,
    leave_by_exception,
    leave_by_nothing,
    leave_in_a_circle,
]


@pytest.mark.parametrize("leave", LEAVE, ids=lambda leave: leave.__name__)
@pytest.mark.parametrize("kind", KINDS)
def test_leaving_a_stream_ends_the_generator(
    source: Source, kind: str, leave: Callable[[Stream], None]
) -> None:
    def begun(stream: Stream) -> Stream:
        until(lambda: source.produced)
        return stream

    with calling(methods(source)) as caller:
        leave(begun(caller.call(kind)))
        gc.collect()
        until(lambda: source.how == ["left"])
        assert source.produced <= ITEMS_MAX + 4
        assert caller.calls == 0


@pytest.mark.parametrize("kind", KINDS)
def test_a_thousand_abandoned_streams_end_within_a_tenth_of_a_second(
    source: Source, kind: str
) -> None:
    with calling(methods(source)) as caller:
        next(caller.call(kind))
        source.ends.get(timeout=5)
        before, late = threading.active_count(), list[float]()
        for _ in range(1000):
            stream = caller.call(kind)
            next(stream)
            left = time.monotonic()
            del stream
            late.append(source.ends.get(timeout=5) - left)
        assert median(late) < 0.1
        assert threading.active_count() <= before + 3, "the pool has four threads"


@pytest.mark.parametrize("kind", KINDS)
def test_a_thousand_streams_abandoned_at_once(source: Source, kind: str) -> None:
    with calling(methods(source)) as caller:
        streams = [caller.call(kind) for _ in range(1000)]
        until(lambda: source.produced == 1000 * ITEMS_MAX)
        assert threading.active_count() < 15, "a suspended stream needs no thread"
        del streams
        until(lambda: len(source.how) == 1000)
        assert threading.active_count() < 15


@pytest.mark.parametrize("kind", KINDS)
def test_the_death_of_the_caller_ends_the_generator(source: Source, kind: str) -> None:
    with calling(methods(source)) as caller:
        stream = caller.call(kind)
        until(lambda: len(stream._buffer.items) == ITEMS_MAX)
        caller.link.close()
        until(lambda: source.how == ["left"])
        until(lambda: caller.is_lost)
        assert len([next(stream) for _ in range(ITEMS_MAX)]) == ITEMS_MAX
        with pytest.raises(PeerLostError, match=kind):
            next(stream)
        assert list(stream) == []


def test_a_generator_that_yields_after_its_caller_has_gone_does_not_block() -> None:
    """What grpc/grpc#22874 reports: a handler that yields then blocks for ever."""
    gate, seen, calls = threading.Event(), list[str](), list[CurrentCall]()

    def items() -> Iterator[int]:
        calls.append(current())
        try:
            yield 1
            gate.wait(20)
            seen.append("cancelled" if current().cancelled else "goes on")
            yield 2
            seen.append("not here")
        finally:
            seen.append("ended")

    with calling({"items": items}) as caller:
        stream = caller.call("items")
        assert next(stream) == 1
        caller.link.close()
        until(lambda: caller.is_lost and calls[0].cancelled)
        gate.set()
        until(lambda: seen == ["cancelled", "ended"])


def test_a_generator_that_ignores_its_end_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    def items() -> Iterator[int]:
        with contextlib.suppress(GeneratorExit):
            while True:
                yield 1
        yield 2

    with calling({"items": items}) as caller:
        stream = caller.call("items")
        assert next(stream) == 1
        stream.close()
        until(lambda: "generator ignored GeneratorExit" in caplog.text)


def test_an_exception_ends_the_stream_after_its_items() -> None:
    def items() -> Iterator[int]:
        yield 1
        yield 2
        raise KeyError("three")

    with calling({"items": items}) as caller:
        stream = caller.call("items")
        time.sleep(0.05)
        assert [next(stream), next(stream)] == [1, 2]
        with pytest.raises(KeyError, match="three"):
            next(stream)
        assert list(stream) == []


@pytest.mark.parametrize("kind", KINDS)
def test_an_item_that_cannot_travel_ends_the_stream(kind: str) -> None:
    ended = list[str]()

    def plain() -> Iterator[Any]:
        try:
            yield 1
            yield threading.Lock()
        finally:
            ended.append("ended")

    async def later() -> AsyncIterator[Any]:
        for item in plain():
            yield item

    with calling({"plain": plain, "later": later}) as caller:
        stream = caller.call(kind)
        assert next(stream) == 1
        with pytest.raises(RpcError, match=r"an item of .* cannot be pickled"):
            next(stream)
        until(lambda: ended == ["ended"])
        assert caller.calls == 0


@pytest.mark.parametrize("item", [2, threading.Lock()], ids=["left", "unsendable"])
def test_the_cleaning_up_of_an_asynchronous_generator_is_not_interrupted(item: Any) -> None:
    ended = list[str]()

    async def later() -> AsyncIterator[Any]:
        try:
            yield 1
            while not current().cancelled:  # the loop learns of it while it cleans up
                time.sleep(0.001)
            yield item
        finally:
            await asyncio.sleep(0.02)
            ended.append("cleaned up")

    with calling({"later": later}) as caller:
        stream = caller.call("later")
        assert next(stream) == 1
        stream.close()
        until(lambda: ended == ["cleaned up"])


@pytest.mark.parametrize("kind", KINDS)
def test_a_stated_time_bounds_the_whole_stream(source: Source, kind: str) -> None:
    with calling(methods(source)) as caller:

        def attempt(seconds: float) -> int:
            with pytest.raises(RpcTimeoutError, match=rf"within {seconds:g} s"):
                consume_slowly(stream := caller.call(kind, timeout=seconds))
            assert not source.produced or list(stream) == []
            return source.produced

        give_time(attempt)
        until(lambda: "left" in source.how)


@pytest.mark.parametrize("kind", KINDS)
def test_a_suspended_stream_ends_with_its_time(source: Source, kind: str) -> None:
    with calling(methods(source)) as caller:
        streams: list[Stream] = []  # nobody reads or leaves them

        def attempt(seconds: float) -> int:
            end = time.monotonic() + seconds
            with contextlib.suppress(RpcTimeoutError):
                streams.append(caller.call(kind, timeout=seconds))
            until(lambda: source.produced or time.monotonic() > end)
            return source.produced

        give_time(attempt)
        until(lambda: "left" in source.how)


def test_a_default_time_bounds_each_item_only() -> None:
    def items(pause: float) -> Iterator[Any]:
        yield current().deadline
        for number in range(30):
            time.sleep(pause)
            yield number

    with calling({"items": items}) as caller:
        found = list(caller.call("items", (0.1,), default_timeout=2.5))  # of 3 s in all
        assert found == [None, *range(30)]
        with pytest.raises(RpcTimeoutError):
            list(caller.call("items", (0.2,), default_timeout=0.1))


def test_the_stream_of_a_cancelled_method_ends(source: Source) -> None:
    with peers(Peer("a"), Peer("b"), Peer("c", methods(source))) as (a, b, c):
        to_c = b.connect_to(c)
        seen = list[str]()

        def outer() -> None:
            stream = to_c.call("plain")
            try:
                for _ in stream:
                    time.sleep(0.01)
            except BaseException as error:
                seen.append(type(error).__name__)
                raise

        b.serve(outer=outer)
        future = a.connect_to(b).start("outer")
        until(lambda: source.produced > ITEMS_MAX)
        future.cancel()
        until(lambda: seen == ["CancelledError"])
        until(lambda: source.how == ["left"])


def test_a_future_of_a_generator_has_the_stream(source: Source) -> None:
    def begun() -> Iterator[int]:
        """A generator that notes its end, however early that comes."""
        generator = source.plain()
        next(generator)
        return generator

    with calling({**methods(source), "begun": begun}) as caller:
        future = caller.start("plain", (5,))
        assert list(future.result(5)) == [0, 1, 2, 3, 4]
        caller.start("begun")
        until(lambda: "left" in source.how, message="nobody has taken it")


def test_progress_of_a_stream() -> None:
    def items() -> Iterator[int]:
        current().progress(1, 2, "half")
        yield 1

    with calling({"items": items}) as caller:
        stream = caller.call("items")
        assert list(stream) == [1]
        assert stream.progress == (1, 2, "half")


def test_the_context_of_a_generator_stays_although_its_thread_changes(source: Source) -> None:
    def items() -> Iterator[Any]:
        while True:
            yield [threading.current_thread().name.rstrip("0123456789"), current().method]

    with calling({"items": items, "plain": source.plain}, threads=3) as caller:
        streams = [caller.call("items") for _ in range(5)]
        for stream in streams * 20:
            assert [next(stream) for _ in range(10)] == [["memsync-rpc-", "items"]] * 10


def test_an_interrupt_leaves_a_stream_usable(source: Source, monkeypatch: Any) -> None:
    with calling(methods(source)) as caller:
        stream = caller.call("plain", (40,))
        found = [next(stream)]
        until(lambda: source.produced == ITEMS_MAX)
        acknowledge = stream._acknowledge

        def interrupted(count: int) -> None:
            raise KeyboardInterrupt

        stream._acknowledge = interrupted
        with pytest.raises(KeyboardInterrupt):
            found.extend(stream)
        stream._acknowledge = acknowledge
        found.extend(stream)
        assert found[-1] == 39
        assert len(found) >= 32


@pytest.mark.process
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_forked_child_leaves_streams_and_futures_to_its_parent(source: Source) -> None:
    gate = threading.Event()
    with calling({**methods(source), "wait": gate.wait}) as caller:
        stream, future = caller.call("plain"), caller.start("wait")
        assert next(stream) == 0
        reads: list[Callable[[], Any]] = [lambda: next(stream), future.result]
        sent = list(caller.link.sent)  # type: ignore[attr-defined]  # of a `MemoryLink`
        child = os.fork()
        if not child:
            status = 1
            try:
                for read in reads:
                    with pytest.raises(RpcTimeoutError, match="before a fork"):
                        read()
                stream.close()
                future.cancel()
                gc.collect()
                status = list(caller.link.sent) != sent  # type: ignore[attr-defined]  # as above
            finally:
                os._exit(status)
        assert os.waitpid(child, 0)[1] == 0
        assert [next(stream) for _ in range(40)] == [*range(1, 41)]
        gate.set()
        assert future.result(5) is True


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("size", [BYTES_MAX // 3 + 1, BYTES_MAX, 5 * BYTES_MAX])
def test_large_items_make_the_window_smaller(kind: str, size: int) -> None:
    made: list[int] = []

    def item(number: int) -> str:
        made.append(number)
        return f"{number}".ljust(size)

    def plain() -> Iterator[str]:
        for number in range(20):
            yield item(number)

    async def later() -> AsyncIterator[str]:
        for number in range(20):
            yield item(number)

    under_way = -(-BYTES_MAX // size)  # at least one
    with calling({"plain": plain, "later": later}) as caller:
        stream = caller.call(kind)
        until(lambda: len(made) >= under_way)
        time.sleep(0.05)
        assert len(made) == under_way
        assert next(stream).strip() == "0"
        until(lambda: len(made) > under_way)
        assert [int(each) for each in stream] == [*range(1, 20)]


def test_small_items_after_large_ones(source: Source) -> None:
    sizes = [BYTES_MAX, 1, 1, BYTES_MAX // 20, 3 * BYTES_MAX, *[10] * 50, BYTES_MAX // 17] * 3
    with calling({"mixed": lambda: (bytes(size) for size in sizes)}) as caller:
        assert [len(each) for each in caller.call("mixed", timeout=20)] == sizes


def test_a_callee_that_sends_too_much_is_refused() -> None:
    buffer = Buffer(None)
    for _ in range(ITEMS_MAX + 1):
        buffer.add(Item(1, Payload(b"")))
    with pytest.raises(ProtocolError, match="more than 16 items"):
        buffer.add(Item(1, Payload(b"")))


@pytest.mark.parametrize("count", [20_000, pytest.param(1_000_000, marks=pytest.mark.slow)])
def test_a_million_items_with_a_paused_consumer_take_no_memory(source: Source, count: int) -> None:
    with calling(methods(source)) as caller:
        stream = caller.call("plain", (count,))
        for _ in range(1000):
            next(stream)
        before = _resident()
        for number in range(1000, count):
            if number % (count // 10) == 0:
                time.sleep(0.05)  # the consumer pauses
            assert next(stream) == number
        assert list(stream) == []
        assert _resident() - before < 10 << 20


def _resident() -> int:
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096
