"""The first step of a call at the callee: read the arguments, call the method, see what it returns.

A value is the answer. A generator, a coroutine or an asynchronous generator becomes the work of the
call, which goes on by itself.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Coroutine, Generator
from typing import Any

from ..errors import MemSyncError, NotSerializableError, RpcTimeoutError
from ..runtime import forks
from .generators import GeneratorWork
from .messages import Call, Streaming
from .pickles import UnpackError
from .run import Run

_NOTHING = object()  # in the place of a value: the call has its answer already
_PLAIN = {type(None), bool, int, float, str, bytes, tuple, list, dict, set}


def begin(run: Run, call: Call) -> None:
    """Call the method; on a thread of the pool."""
    try:
        _begin(run, call)
    except BaseException as error:  # a bug of memsync, or no memory: the caller must not wait
        run.fail(error)


def _begin(run: Run, call: Call) -> None:
    value = _call_method(run, call)
    if type(value) in _PLAIN:  # most values: to ask the abstract classes costs a microsecond
        run.answer(value)
    elif isinstance(value, (Coroutine, AsyncGenerator)):
        if not run.service.loop.call(_go_on_in_loop, run, value):
            _drop(run, value)
    elif isinstance(value, Generator):
        _open_stream(run)
        work = GeneratorWork(run, value)
        run.go_on_with(work)
        work.advance()
    elif value is not _NOTHING:
        run.answer(value)


def begin_in_loop(run: Run, call: Call) -> None:
    """Call an asynchronous method; on the thread of the event loop."""
    try:
        value = _call_method(run, call)
        if value is not _NOTHING:
            _go_on_in_loop(run, value)
    except BaseException as error:  # as in `begin`
        run.fail(error)


def _call_method(run: Run, call: Call) -> Any:
    """What the method returns, or `_NOTHING`."""
    run.started()
    if run.current.cancelled:
        run.drop()
        return _NOTHING
    try:
        function, args, kwargs = _prepare(run, call)
    except MemSyncError as error:
        run.refuse(error)
        return _NOTHING
    except BaseException as error:  # of a published function that is loaded
        run.fail(error)
        return _NOTHING
    try:
        return run.context.run(function, *args, **kwargs)
    except BaseException as error:  # it belongs to the caller
        run.fail(error)
        return _NOTHING


def _prepare(run: Run, call: Call) -> tuple[Callable[..., Any], list[Any], dict[str, Any]]:
    left = run.current.remaining() or 0.0
    if not run.service.versions.wait((call.epoch, call.version), left):
        raise RpcTimeoutError(
            f"{run.name!r} was not run: this peer has not reached version {call.version}, which "
            f"the caller had seen, within {left:.3g} s",
            outcome="not_applied",
        )
    method = run.service.method(run.name)
    try:
        args, kwargs = run.service.pickles.unpack(call.payload)
    except (UnpackError, TypeError, ValueError) as error:
        raise NotSerializableError(
            f"{run.name!r} was not run, because what was passed to it cannot be read: {error}"
        ) from error
    return method.function, args, kwargs


def _go_on_in_loop(run: Run, value: Any) -> None:
    """Go on with a coroutine or an asynchronous generator; on the loop's thread."""
    with forks.importing:
        from .tasks import StreamTask, ValueTask

    if run.current.cancelled:
        _drop(run, value)
    elif isinstance(value, AsyncGenerator):
        _open_stream(run)
        run.go_on_with(StreamTask(run, value))
    elif isinstance(value, Coroutine):
        run.go_on_with(ValueTask(run, value))
    else:  # a function that was declared asynchronous has returned a plain value
        run.answer(value)


def _open_stream(run: Run) -> None:
    run.is_stream = True
    if not run.is_stated:
        run.current.deadline = None  # the caller's default bounds the wait for each item
    run.send(Streaming(run.id))


def _drop(run: Run, value: Any) -> None:
    if isinstance(value, Coroutine):
        value.close()
    run.drop()
