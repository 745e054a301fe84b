"""How values travel: JSON values as MessagePack, others as pickles.

This is the only place of memsync that pickles. Functions and classes that the other side cannot
import go by value (cloudpickle, imported at first use). Their byte code belongs to one version of
Python, so another version refuses them before it runs anything.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from functools import cache
from math import isfinite
from typing import Any

import msgspec

from ..document import encoded, normalize
from ..errors import NotSerializableError
from ..lasting import lasting
from ..runtime import forks
from .messages import Payload

_BY_VALUE = b"cloudpickle"  # each pickle with a function or class by value names this module


_DEPTH_MAX = 100  # of JSON values, as in the object


@lasting
class UnpackError(Exception):
    """Bytes of the other side that do not become a value here; the message says why."""


class Pickles:
    """Packs and unpacks; `allowed` is the option ``rpc.pickles``."""

    def __init__(self, allowed: bool) -> None:
        self.allowed = allowed

    def pack(self, value: Any, what: str) -> Payload:
        """`value` as bytes; raises `NotSerializableError`, which calls the value `what`."""
        if is_json(value):
            return Payload(bytes(encoded(value)))
        if not self.allowed:
            return Payload(bytes(encoded(_as_json(value, what))))
        try:
            data = cloudpickle().dumps(value)
        except Exception as error:
            raise NotSerializableError(
                f"{what} cannot be pickled ({type(error).__name__}: {text_of(error)}): pass what "
                "the other process needs to make it itself"
            ) from error
        return Payload(data, writer(data))

    def pack_arguments(
        self, args: Sequence[Any], kwargs: Mapping[str, Any], method: str
    ) -> Payload:
        """The arguments of a call as one value; raises `NotSerializableError`."""
        value = [list(args), dict(kwargs)]
        if self.allowed or is_json(value):
            return self.pack(value, f"an argument of {method!r}")
        call = f"in the call of {method!r}"
        places = [(f"{call}, argument {n + 1}", each) for n, each in enumerate(args)]
        places += [(f"{call}, {name}", each) for name, each in kwargs.items()]
        for place, each in places:
            _as_json(each, place)
        return Payload(bytes(encoded(_as_json(value, call))))

    def unpack(self, payload: Payload) -> Any:
        """Undo `pack`; raises `UnpackError`. It may run code of the program."""
        if not payload.pickled_by:
            try:
                return msgspec.msgpack.decode(payload.data)
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
                raise UnpackError(f"the bytes are no MessagePack ({error})") from error
        if not self.allowed:
            raise UnpackError(
                "it came as a pickle, and rpc.pickles is false in the process that reads it: use "
                "JSON values, or set rpc.pickles to true in both processes"
            )
        is_foreign = python_of(payload.pickled_by) != python_of(here())
        if is_foreign and _BY_VALUE in payload.data:
            raise UnpackError(
                "it holds a function or a class by value, whose byte code only the Python that "
                f"wrote it can run{_difference(payload.pickled_by)}: use one version of Python, or "
                "have both processes import the function from a module"
            )
        return loads(payload)


def loads(payload: Payload) -> Any:
    """Load a pickle; raises `UnpackError` for whatever its code raises, except Ctrl-C."""
    import pickle

    if _BY_VALUE in payload.data:
        cloudpickle()
    try:
        return pickle.loads(payload.data)
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        raise UnpackError(
            f"loading the pickle raised {type(error).__name__}: {text_of(error)}"
            f"{_difference(payload.pickled_by)}"
        ) from error


def cloudpickle() -> Any:
    """The module, which takes milliseconds to import."""
    with forks.importing:
        import cloudpickle  # type: ignore[import-untyped]  # it has no types

    return cloudpickle


def is_json(value: Any, depth: int = 0) -> bool:
    """Whether MessagePack gives back an equal value of the same type, subclasses excluded."""
    kind = type(value)
    if kind is str:
        return value.isascii() or _is_encodable(value)
    if kind is int:
        return -(2**63) <= int(value) < 2**63
    if value is None or kind is bool:
        return True
    if kind is float:
        return isfinite(value)
    if depth >= _DEPTH_MAX:
        return False
    if kind is list:
        for item in value:  # noqa: SIM110  # each call comes here, and a generator costs more
            if not is_json(item, depth + 1):
                return False
        return True
    if kind is dict:
        for name, item in value.items():
            if type(name) is not str or not is_json(name) or not is_json(item, depth + 1):
                return False
        return True
    return False


def _is_encodable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _as_json(value: Any, what: str) -> Any:
    try:
        return normalize(value, what)
    except NotSerializableError as error:
        raise NotSerializableError(
            f"{error}. Only JSON values travel, because rpc.pickles is false here", path=error.path
        ) from None


def writer(data: bytes) -> str:
    """What wrote a pickle: the version of Python, and of cloudpickle if it was needed."""
    return here() if _BY_VALUE in data else here().split()[0]


@cache
def here() -> str:
    """The versions of this process, as `Payload.pickled_by` names them."""
    with forks.importing:
        from importlib.metadata import version

        of_cloudpickle = version("cloudpickle")  # imports more
    return f"{sys.version_info[0]}.{sys.version_info[1]} {of_cloudpickle}"


def python_of(versions: str) -> str:
    """The version of Python in `Payload.pickled_by`."""
    return versions.partition(" ")[0]


def _difference(there: str) -> str:
    """The versions of both sides as a clause, or nothing where they are the same."""
    python, _, library = there.partition(" ")
    own_python, _, own_library = here().partition(" ")
    if python == own_python and library in ("", own_library):
        return ""
    return (
        f" (written by Python {python}{f' with cloudpickle {library}' if library else ''}; here is "
        f"Python {own_python} with cloudpickle {own_library})"
    )


def text_of(error: BaseException, most: int = 500) -> str:
    """The message of an exception, cut; its ``__str__`` may raise."""
    try:
        text = str(error)
    except Exception as raised:
        return f"<its __str__ raised {type(raised).__name__}>"
    return cut(text, most)


def cut(text: str, most: int) -> str:
    """`text`, or its beginning and end with the number of characters between them.

    What UTF-8 cannot encode (a lone surrogate) is escaped, as it could not be sent.
    """
    if len(text) > most:
        half = most // 2
        text = f"{text[:half]}... {len(text) - 2 * half} characters ...{text[-half:]}"
    return text.encode(errors="backslashreplace").decode()
