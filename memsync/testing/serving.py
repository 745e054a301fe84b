"""The main function of a peer's process: runs the functions that the test sends.

Each runs on a thread of its own, so the process answers while a writer is busy. The process ends
when the test's end of the pipe closes.
"""

from __future__ import annotations

import os
import threading
import traceback
from contextlib import suppress
from multiprocessing.connection import Connection
from typing import Any
from weakref import WeakSet

import cloudpickle  # type: ignore[import-untyped] # it has no types

from ..handle import MemSync

ends_of_the_test: WeakSet[Connection] = WeakSet()
"""The test's ends of all pipes; a forked peer inherits them."""


def serve(
    connection: Connection,
    name: str,
    data: Any,
    options: Any,
    environment: dict[str, str],
    rpc: bytes,
) -> None:
    """Create the handle, then run functions until the test is gone."""
    for end in list(ends_of_the_test):  # an inherited copy would hide the end of the test
        end.close()
    os.environ.clear()
    os.environ.update(environment)
    runner = _Runner(connection, name, data, options, rpc)
    while True:
        try:
            ticket, call = connection.recv()
        except (EOFError, ConnectionResetError, KeyboardInterrupt):
            return  # a Ctrl-C in the terminal reaches the peers as well
        thread = threading.Thread(
            target=runner.run, args=(ticket, call), name=f"test-call-{ticket}", daemon=True
        )
        thread.start()


class _Runner:
    """The handle, or the error of its constructor, and the connection to the test."""

    def __init__(
        self, connection: Connection, name: str, data: Any, options: Any, rpc: bytes
    ) -> None:
        self._connection = connection
        self._answering = threading.Lock()
        self._failure: Exception | None = None
        try:
            methods = cloudpickle.loads(rpc)
            if callable(methods):
                methods = methods(lambda: self._mem)
            self._mem: MemSync[Any] = MemSync(name, data, options, rpc=methods)
        except Exception as error:  # raised by each call
            self._failure = error

    def run(self, ticket: int, call: bytes) -> None:
        """Run one function and send what it returns or raises."""
        try:
            if self._failure is not None:
                raise self._failure
            function, args, kwargs = cloudpickle.loads(call)
            answer = _encoded(ticket, function(self._mem, *args, **kwargs))
        except BaseException as error:  # sys.exit() and pytest.fail() as well
            answer = _encoded_error(ticket, error, traceback.format_exc())
        with self._answering, suppress(BrokenPipeError, ConnectionResetError):  # the test has ended
            self._connection.send_bytes(answer)


def _encoded(ticket: int, value: Any) -> bytes:
    try:
        return dumps((ticket, value, None, ""))
    except Exception as error:
        raise TypeError(
            f"{value!r:.100} cannot be sent to the test ({error}): have the function return "
            "something that can be pickled, or None"
        ) from error


def _encoded_error(ticket: int, error: BaseException, text: str) -> bytes:
    for copied in (lambda: error, lambda: _Copied(error)):
        try:
            answer = dumps((ticket, None, copied(), text))
            cloudpickle.loads(answer)  # some pickled errors cannot be loaded
        except Exception:
            continue
        return answer
    return dumps((ticket, None, RuntimeError(f"{type(error).__name__}: {error}"), text))


class _Copied:
    """An error whose class refuses its `args`: it is copied without its `__init__`."""

    def __init__(self, error: BaseException) -> None:
        self._error = error

    def __reduce__(self) -> tuple[Any, ...]:
        return _copy, (type(self._error), self._error.args, self._error.__dict__)


def _copy(kind: type[BaseException], args: tuple[Any, ...], state: dict[str, Any]) -> BaseException:
    error = kind.__new__(kind, *args)
    error.__dict__.update(state)
    return error


def dumps(value: Any) -> bytes:
    """Pickle a value; functions that cannot be imported are pickled as code."""
    encoded: bytes = cloudpickle.dumps(value)
    return encoded
