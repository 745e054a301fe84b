"""`mem.once` and `mem.last_out` with each engine."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from typing import Any

import pytest

from memsync import LockTimeoutError, MemSync, NotStartedError, RpcError, TooLargeError, UsageError
from memsync.runtime.lock_requests import LockRequests
from memsync.testing import until


class OwnError(Exception):
    """An exception that can be imported."""


def test_it_runs_once_and_all_get_the_result(engine: str) -> None:
    calls: list[int] = []
    with MemSync("obj", engine=engine) as mem, MemSync("obj", engine=engine) as other:

        def work() -> dict[str, Any]:
            calls.append(1)
            until(lambda: len(mem.locks()["memsync.once.warm_up"]["queue"]) == 4)
            return {"made": [1, 2.5, None]}

        results: list[Any] = []
        threads = [
            threading.Thread(target=lambda who=who: results.append(who.once("warm_up", work)))
            for who in (mem, other, mem, other, mem)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(20)
        results.append(other.once("warm_up", work))
        assert results == [{"made": [1, 2.5, None]}] * 6
        assert calls == [1]
        assert mem.locks() == {}
        assert results[0] is not results[1]  # what each gets is its own
        with MemSync("obj", engine=engine) as newcomer:
            assert newcomer.once("warm_up", work) == results[0]


def test_all_get_the_error_as_well(engine: str) -> None:
    calls: list[int] = []

    def work() -> None:
        calls.append(1)
        raise OwnError("no disk")

    with MemSync("obj", engine=engine) as mem, MemSync("obj", engine=engine) as other:
        for who in (mem, other, mem):
            with pytest.raises(OwnError, match="no disk"):
                who.once("warm_up", work)
        assert calls == [1]


def test_values_that_are_no_json_travel_as_pickles_unless_that_is_forbidden(engine: str) -> None:
    with MemSync("obj", engine=engine) as mem:
        assert mem.once("t", lambda: (1, {2})) == (1, {2})
        with pytest.raises(TooLargeError):
            mem.once("large", lambda: "x" * (1 << 20))
    with MemSync("obj", options={"rpc": {"pickles": False}}, engine=engine) as mem:
        assert mem.once("t", lambda: [1]) == [1]
        for _ in range(2):
            with pytest.raises((TypeError, RpcError), match=r"Only JSON values travel"):
                mem.once("set", lambda: {1})


@pytest.mark.parametrize(
    "kind", [KeyboardInterrupt, SystemExit, GeneratorExit, pytest.skip.Exception]
)
def test_what_is_no_exception_lets_the_next_one_run_the_function(
    engine: str, kind: type[BaseException]
) -> None:
    def interrupted() -> None:
        raise kind

    with MemSync("obj", engine=engine) as mem, MemSync("obj", engine=engine) as other:
        with pytest.raises(kind):
            mem.once("warm_up", interrupted)
        assert other.once("warm_up", lambda: 1) == 1


def test_after_a_stop_in_the_function_the_next_one_runs_it(engine: str) -> None:
    results: list[str] = []
    with MemSync("obj", engine=engine) as other, MemSync("obj", engine=engine) as mem:

        def work() -> str:
            thread = threading.Thread(target=mem.stop)
            thread.start()
            thread.join(20)
            results.append(other.once("warm_up", lambda: "second"))
            return "first"

        with pytest.raises(NotStartedError):
            mem.once("warm_up", work)
        results.append(other.once("warm_up", lambda: "third"))
    assert results == ["second", "second"]


@pytest.mark.parametrize("moment", ["memsync.once._run", "memsync.once._packed", "settle"])
def test_ctrl_c_beside_the_function_lets_the_next_one_run_it(
    engine: str, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    with MemSync("obj", engine=engine) as mem, MemSync("obj", engine=engine) as other:
        with monkeypatch.context() as patched:
            if moment == "settle":
                patched.setattr(LockRequests, moment, interrupted)
            else:
                patched.setattr(moment, interrupted)
            with pytest.raises(KeyboardInterrupt):
                mem.once("warm_up", lambda: 1)
        assert other.once("warm_up", lambda: 2, timeout=5) == 2


def test_a_wait_for_the_result_ends(engine: str) -> None:
    with MemSync("obj", engine=engine) as mem, MemSync("obj", engine=engine) as other:

        def work() -> int:
            with pytest.raises(
                LockTimeoutError,
                match=r"result of once\(\) 'slow' .* for \d+\.\d s; \d requests? waits?$",
            ):
                other.once("slow", lambda: 2, timeout=0.05)
            return 1

        assert mem.once("slow", work) == 1


def test_the_last_one_that_leaves_runs_the_function(engine: str) -> None:
    calls: list[str] = []
    handles = [MemSync("obj", engine=engine) for _ in range(3)]
    for number, mem in enumerate(handles):
        mem.start()
        mem.last_out("tear_down", lambda number=number: calls.append(f"{number}"))  # type: ignore[misc]
    with MemSync("obj", engine=engine) as witness:  # it takes no part
        for number in (1, 0):
            handles[number].stop()
            assert calls == []
        handles[2].stop()
        assert calls == ["2"]
        until(lambda: witness.locks() == {})
        handles[2].start()
        handles[2].stop()  # it has not registered again
        assert calls == ["2"]


@pytest.mark.parametrize("function", [lambda: 1 / 0, sys.exit])
def test_a_function_that_fails_does_not_keep_the_peer(
    engine: str, caplog: pytest.LogCaptureFixture, function: Callable[[], object]
) -> None:
    with MemSync("obj", engine=engine) as mem:
        mem.last_out("tear_down", function)
    assert mem.get_status()["status"] == "stopped"
    assert "last_out() failed" in caplog.text


@pytest.mark.parametrize("method", ["once", "last_out"])
def test_a_wrong_argument_is_named(method: str) -> None:
    with MemSync("obj", engine="memory") as mem:
        call = getattr(mem, method)
        with pytest.raises(UsageError, match=rf"the function of {method}\(\) must be callable"):
            call("name", 1)

        with pytest.raises(UsageError, match="must be Unicode"):
            call("\ud800", print)

        async def work() -> None:
            """Nobody awaits it."""

        with pytest.raises(UsageError, match="must not be async"):
            call("name", work)
        with pytest.raises(UsageError, match="1 to 300 characters"):
            call("", print)
        call("k" * 300, lambda: None)
