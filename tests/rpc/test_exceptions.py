"""What a method raises arrives: rebuilt where that is possible, and always as text."""

from __future__ import annotations

import os
import subprocess
import sys
import traceback
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from memsync.errors import RpcError
from memsync.rpc.messages import Failure, Payload, Twin, decode
from memsync.rpc.pickles import Pickles
from memsync.rpc.rebuild import rebuild
from memsync.rpc.twin import TWINS_MAX, describe

from .exceptions import CASES, Case, Simple, raised
from .links import calling

ROOT = Path(__file__).parent.parent.parent

NAMES = [case.name for case in CASES]


def test_there_are_at_least_forty_cases() -> None:
    assert len(set(NAMES)) == len(CASES) >= 40


@pytest.fixture(scope="module")
def twins(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Twin]:
    """What a process that knows one module more sends."""
    folder = tmp_path_factory.mktemp("callee")
    (folder / "known_to_the_callee.py").write_text("class Unknown(Exception): pass\n")
    output = subprocess.run(
        [sys.executable, "-m", "tests.rpc.exceptions"],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": f"{folder}{os.pathsep}{ROOT}"},
        stdout=subprocess.PIPE,
        check=True,
        timeout=60,
    ).stdout
    found, offset = [], 0
    while offset < len(output):
        size = int.from_bytes(output[offset : offset + 4], "big")
        message = decode(output[offset + 4 : offset + 4 + size])
        assert isinstance(message, Failure)
        assert message.twin is not None
        found.append(message.twin)
        offset += 4 + size
    return dict(zip(NAMES, found, strict=True))


@pytest.mark.parametrize("case", CASES, ids=NAMES)
def test_it_arrives_from_another_process(case: Case, twins: dict[str, Twin]) -> None:
    error = rebuild(twins[case.name], Pickles(True), "'method' on peer x")
    check_case(case, error)


def fail(name: str) -> None:
    raise CASES[NAMES.index(name)].raise_()


async def fail_async(name: str) -> None:
    fail(name)


def stream(name: str) -> Iterator[int]:
    yield 1
    fail(name)


async def stream_async(name: str) -> AsyncIterator[int]:
    yield 1
    fail(name)


METHODS = (fail, fail_async, stream, stream_async)

# Not over a link in one process, which knows the class at both ends.
OF_TWO_PROCESSES = ("known only to the callee", "a group with an unknown")


@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.__name__)
def test_it_arrives_over_a_link(method: Any) -> None:
    with calling({"method": method}) as caller:
        for case in CASES:
            if case.name in OF_TWO_PROCESSES:
                continue
            if case.name == "stop" and method is not fail:
                continue  # Python itself makes a RuntimeError of it
            try:
                found = caller.call("method", (case.name,))
                assert list(found) == [1]
            except BaseException as error:
                check_case(case, error)
            else:
                pytest.fail(f"nothing was raised: {case.name}")
        assert caller.calls == 0
        assert caller.link.error is None  # type: ignore[attr-defined]  # of a `MemoryLink`


def check_case(case: Case, error: BaseException, file: str = "exceptions.py") -> None:
    """Check what has arrived for a case; `file` is where the callee has raised it."""
    assert issubclass(type(error), case.kind), f"{case.name}: {type(error)}"
    if case.kind is not RpcError:
        assert not issubclass(type(error), RpcError), case.name
    assert case.check(error), case.name
    frames = traceback.extract_tb(object.__getattribute__(error, "__traceback__"))
    assert any(file in frame.filename for frame in frames), "the callee's frames"


def test_without_pickles_everything_is_an_rpc_error(twins: dict[str, Twin]) -> None:
    for pickles, name in ((Pickles(False), "keyword only"), (Pickles(True), "plain")):
        twin = twins[name]
        if pickles.allowed:
            twin = describe(raised(CASES[NAMES.index(name)]), Pickles(False))
        error = rebuild(twin, pickles, "'method' on peer x")
        assert isinstance(error, RpcError)
        assert "'method' on peer x raised" in str(error)
        assert "rpc.pickles is false" in error.__notes__[0]
        assert error.remote_traceback is not None
        assert error.remote_traceback.startswith("Traceback (most recent call last):")


def test_the_frames_of_the_callee_are_real(twins: dict[str, Twin]) -> None:
    error = rebuild(twins["two needed"], Pickles(True), "x")
    frames = traceback.extract_tb(error.__traceback__)
    assert [frame.name for frame in frames] == ["raised"]
    assert frames[0].filename.endswith("exceptions.py")
    assert frames[0].line == "raise case.raise_()"


def test_a_pickle_of_another_python_is_named() -> None:
    twin = describe(Simple("x"), Pickles(True))
    assert twin.rebuild is not None
    twin.rebuild = Payload(b"\x80\x05garbage", "2.7 0.1")
    error = rebuild(twin, Pickles(True), "x")
    assert isinstance(error, RpcError)
    assert "written by Python 2.7 with cloudpickle 0.1; here is Python" in error.__notes__[0]


def test_a_chain_is_rebuilt() -> None:
    def inner() -> None:
        try:
            raise KeyError("x")
        except KeyError as error:
            raise ValueError("cause") from error

    def fail() -> None:
        try:
            inner()
        except ValueError:
            raise Simple("outer") from None

    with calling({"fail": fail}) as caller, pytest.raises(Simple) as caught:
        caller.call("fail")
    error = caught.value
    assert error.__cause__ is None
    assert error.__suppress_context__
    assert type(error.__context__) is ValueError
    assert type(error.__context__.__cause__) is KeyError
    names = [frame.name for frame in traceback.extract_tb(error.__traceback__)]
    assert names[-1] == "fail"
    inner_names = [f.name for f in traceback.extract_tb(error.__context__.__traceback__)]
    assert inner_names == ["fail", "inner"]


def test_a_group_says_how_many_of_its_members_are_left_out() -> None:
    def arrived(count: int) -> BaseException:
        group = ExceptionGroup("g", [ValueError(number) for number in range(count)])
        group.add_note("own")
        return rebuild(describe(group, Pickles(True)), Pickles(True), "x")

    whole, cut = arrived(TWINS_MAX - 1), arrived(TWINS_MAX + 8)
    assert isinstance(whole, ExceptionGroup)
    assert isinstance(cut, ExceptionGroup)
    assert len(whole.exceptions) == len(cut.exceptions) == 31
    assert whole.__notes__ == ["own"]
    assert cut.__notes__ == ["own", "memsync: 9 of 40 members of the group left out"]


def test_a_small_link_has_the_message_at_least() -> None:
    def fail() -> None:
        raise ValueError("message " * 100)

    with (
        calling({"fail": fail}, max_bytes=1500) as caller,
        pytest.raises(RpcError, match=r"'fail' on peer there raised builtins\.ValueError: mess"),
    ):
        caller.call("fail")
