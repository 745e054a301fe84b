"""Forty exceptions that are hard to send, each with what must arrive.

A child process imports this module as well: what it raises must arrive in the parent.
"""

from __future__ import annotations

import asyncio
import dataclasses
import importlib
import threading
from collections.abc import Callable
from typing import Any, NamedTuple, NoReturn

from memsync.errors import ConflictError, RpcError


class Simple(Exception):
    pass


class KeywordOnly(Exception):
    def __init__(self, *, code: int) -> None:
        super().__init__(f"code {code}")
        self.code = code


class TwoNeeded(Exception):
    def __init__(self, name: str, place: str) -> None:
        super().__init__(f"no {name} at {place}")
        self.name = name


class Prefixing(Exception):
    def __init__(self, text: str) -> None:
        super().__init__(f"prefix: {text}")


class OnlyOnce(Exception):
    made = 0

    def __init__(self) -> None:
        OnlyOnce.made += 1
        if OnlyOnce.made > 1:
            raise RuntimeError("made twice")
        super().__init__("once")


class WithAttributes(Exception):
    def __init__(self, text: str, **attributes: Any) -> None:
        super().__init__(text)
        self.__dict__.update(attributes)


class RaisingReduce(Exception):
    def __reduce__(self) -> NoReturn:
        raise RuntimeError("reduce")


class GarbageReduce(Exception):
    def __reduce__(self) -> Any:
        return 7


class LyingReduce(Exception):
    def __reduce__(self) -> Any:
        return (str, ("no exception at all",))


class RaisingSetState(Exception):
    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.kept = 1

    def __setstate__(self, state: Any) -> NoReturn:
        raise RuntimeError("setstate")


class ExitingSetState(RaisingSetState):
    def __setstate__(self, state: Any) -> NoReturn:
        raise SystemExit("setstate")


class KeywordOSError(OSError):
    def __init__(self, *, place: str) -> None:
        super().__init__(5, "broken", place)
        self.place = place


class OwnGroup(ExceptionGroup[Exception]):
    pass


class RaisingStr(Exception):
    def __str__(self) -> str:
        raise RuntimeError("str")


class RaisingRepr(Exception):
    def __repr__(self) -> str:
        raise RuntimeError("repr")


class ExitingStr(Exception):
    def __str__(self) -> str:
        raise SystemExit("str")


class Slotted(Exception):
    __slots__ = ("place",)

    def __init__(self, place: str) -> None:
        super().__init__("slotted", place)
        self.place = place


@dataclasses.dataclass(frozen=True)
class Frozen(Exception):
    code: int
    text: str


class NeedsNew(Exception):
    def __new__(cls, first: int, second: int) -> NeedsNew:
        return super().__new__(cls, first, second)

    def __init__(self, first: int, second: int) -> None:
        super().__init__("new")


class RefusesAttributes(Exception):
    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError("none")


class HidesAttributes(Exception):
    def __getattribute__(self, name: str) -> Any:
        raise RuntimeError("hidden")


class Meta(type):
    def __call__(cls, *args: Any) -> Any:
        if args == ():
            raise TypeError("not without arguments")
        return super().__call__(*args)


class OfMeta(Exception, metaclass=Meta):
    pass


class Shadowed(Exception):
    pass


Hidden = Shadowed


class Shadowed(Exception):  # type: ignore[no-redef]
    pass


def make(error: BaseException, **attributes: Any) -> BaseException:
    error.__dict__.update(attributes)
    return error


def chained(error: BaseException, cause: BaseException | None) -> BaseException:
    error.__cause__ = cause
    return error


def local() -> BaseException:
    class Local(ValueError):
        pass

    return Local("local")


def unknown() -> Exception:
    try:  # the folder is in the path of the callee only
        kind = importlib.import_module("known_to_the_callee").Unknown
    except ImportError:
        kind = type("Unknown", (Exception,), {"__module__": "known_to_the_callee"})
    error: Exception = kind("only there")
    return error


def itself() -> BaseException:
    error = Simple("itself")
    return make(chained(error, error), me=error)


def circle() -> BaseException:
    first, second = Simple("first"), KeyError("second")
    first.__cause__, second.__cause__ = second, first
    second.__context__ = first
    return first


def long_chain() -> BaseException:
    error: BaseException = Simple("0")
    for number in range(100):
        error = chained(Simple(str(number + 1)), error)
    return error


def recursion() -> NoReturn:
    recursion()


def noted() -> BaseException:
    error = Simple("noted")
    error.add_note("first")
    error.__notes__.append(7)  # type: ignore[arg-type]  # not only strings
    return error


class Case(NamedTuple):
    """`kind` catches what arrives; `check` is true of it."""

    name: str
    raise_: Callable[[], BaseException]
    kind: type[BaseException]
    check: Callable[[Any], bool] = lambda error: True


CASES = [
    Case("plain", lambda: ValueError("plain"), ValueError, lambda e: e.args == ("plain",)),
    Case("key", lambda: KeyError("k"), KeyError, lambda e: str(e) == "'k'"),
    Case("own class", lambda: Simple(1, [2]), Simple, lambda e: e.args == (1, [2])),
    Case("keyword only", lambda: KeywordOnly(code=4), KeywordOnly, lambda e: e.code == 4),
    Case("two needed", lambda: TwoNeeded("a", "b"), TwoNeeded, lambda e: str(e) == "no a at b"),
    Case("prefixing", lambda: Prefixing("x"), Prefixing, lambda e: str(e) == "prefix: x"),
    Case("made once", lambda: OnlyOnce.__new__(OnlyOnce), OnlyOnce),
    Case(
        "a lock as attribute",
        lambda: WithAttributes("w", lock=threading.Lock(), code=3),
        WithAttributes,
        lambda e: e.code == 3 and not hasattr(e, "lock") and "lock" in e.__notes__[0],
    ),
    Case(
        "a lock as argument",
        lambda: Simple("s", threading.Lock()),
        Simple,
        lambda e: e.args[0] == "s" and e.args[1].startswith("<unlocked"),
    ),
    Case(
        "a function as attribute",
        lambda: WithAttributes("w", call=lambda: 7),
        WithAttributes,
        lambda e: e.call() == 7,
    ),
    Case("raising reduce", lambda: RaisingReduce("r"), RaisingReduce, lambda e: e.args == ("r",)),
    Case("garbage reduce", lambda: GarbageReduce("g"), GarbageReduce, lambda e: e.args == ("g",)),
    Case("lying reduce", lambda: LyingReduce("l"), LyingReduce, lambda e: e.args == ("l",)),
    Case("raising setstate", lambda: RaisingSetState("s"), RaisingSetState, lambda e: e.kept == 1),
    Case("exiting setstate", lambda: ExitingSetState("s"), ExitingSetState, lambda e: e.kept == 1),
    Case(
        "names of files",
        lambda: OSError(2, "no", "a", None, "b"),
        FileNotFoundError,
        lambda e: (e.errno, e.filename, e.filename2) == (2, "a", "b"),
    ),
    Case(
        "keyword only system error",
        lambda: KeywordOSError(place="p"),
        KeywordOSError,
        lambda e: (e.errno, e.filename, e.place) == (5, "p", "p"),
    ),
    Case(
        "unicode",
        lambda: UnicodeDecodeError("utf-8", b"\xff", 0, 1, "bad"),
        UnicodeDecodeError,
        lambda e: (e.object, e.reason) == (b"\xff", "bad"),
    ),
    Case("surrogate", lambda: ValueError("\udc80"), ValueError, lambda e: e.args == ("\udc80",)),
    Case(
        "syntax",
        lambda: SyntaxError("s", ("f.py", 3, 4, "text")),
        SyntaxError,
        lambda e: (e.filename, e.lineno) == ("f.py", 3),
    ),
    Case(
        "import", lambda: ImportError("i", name="n", path="p"), ImportError, lambda e: e.name == "n"
    ),
    Case("stop", lambda: StopIteration("v"), StopIteration, lambda e: e.value == "v"),
    Case("exit", lambda: SystemExit(3), SystemExit, lambda e: e.code == 3),
    Case("interrupt", lambda: KeyboardInterrupt("k"), KeyboardInterrupt),
    Case("generator exit", lambda: GeneratorExit(), GeneratorExit),
    Case("cancelled", lambda: asyncio.CancelledError("c"), asyncio.CancelledError),
    Case(
        "nested groups",
        lambda: ExceptionGroup("g", [ValueError(1), ExceptionGroup("h", [KeywordOnly(code=2)])]),
        ExceptionGroup,
        lambda e: e.exceptions[1].exceptions[0].code == 2 and e.message == "g",
    ),
    Case(
        "a group with an unknown",
        lambda: ExceptionGroup("g", [ValueError(1), unknown()]),
        ExceptionGroup,
        lambda e: [type(each) for each in e.exceptions] == [ValueError, RpcError],
    ),
    Case(
        "a group of interrupts",
        lambda: BaseExceptionGroup("g", [KeyboardInterrupt(), ValueError(2)]),
        BaseExceptionGroup,
        lambda e: type(e.exceptions[0]) is KeyboardInterrupt,
    ),
    Case(
        "own group",
        lambda: make(OwnGroup("o", [ValueError(1)]), extra=5),
        OwnGroup,
        lambda e: e.extra == 5 and len(e.exceptions) == 1,
    ),
    Case(
        "known only to the callee",
        unknown,
        RpcError,
        lambda e: (
            e.remote_type == "known_to_the_callee.Unknown"
            and "only there" in str(e)
            and "known_to_the_callee.Unknown: only there" in e.remote_traceback
        ),
    ),
    Case("local class", local, ValueError, lambda e: str(e) == "local"),
    Case("name of another class", lambda: Hidden("h"), Exception, lambda e: e.args == ("h",)),
    Case("raising str", lambda: RaisingStr("s"), RaisingStr, lambda e: e.args == ("s",)),
    Case("raising repr", lambda: RaisingRepr("r"), RaisingRepr, lambda e: e.args == ("r",)),
    Case("exiting str", lambda: ExitingStr("s"), ExitingStr, lambda e: e.args == ("s",)),
    Case(
        "ten megabytes",
        lambda: ValueError("x" * 10_000_000),
        ValueError,
        lambda e: len(str(e)) < 20_000 and "9983616 characters" in str(e),
    ),
    Case("cause in a circle", circle, Simple, lambda e: type(e.__cause__) is KeyError),
    Case("cause of itself", itself, Simple, lambda e: e.__cause__ is None and e.me is e),
    Case("hundred causes", long_chain, Simple, lambda e: str(e.__cause__.__cause__) == "98"),
    Case("notes", noted, Simple, lambda e: e.__notes__ == ["first"]),
    Case("slots", lambda: Slotted("p"), Slotted, lambda e: e.place == "p"),
    Case("frozen", lambda: Frozen(3, "t"), Frozen, lambda e: (e.code, e.text) == (3, "t")),
    Case("needs new", lambda: NeedsNew(1, 2), NeedsNew, lambda e: e.args == ("new",)),
    Case("no attributes", lambda: RefusesAttributes("n"), RefusesAttributes),
    Case("hidden attributes", lambda: HidesAttributes("h"), HidesAttributes),
    Case("metaclass", lambda: OfMeta("m"), OfMeta, lambda e: e.args == ("m",)),
    Case("recursion", recursion, RecursionError),
    Case(
        "memsync's own",
        lambda: ConflictError("c", path="/a", version=3),
        ConflictError,
        lambda e: (e.path, e.version) == ("/a", 3),
    ),
]


def raised(case: Case) -> BaseException:
    """The exception with a traceback."""
    try:
        raise case.raise_()
    except BaseException as error:
        return error


if __name__ == "__main__":  # the callee: writes the twins of all cases
    import sys

    from memsync.rpc.messages import Failure, encode
    from memsync.rpc.pickles import Pickles
    from memsync.rpc.twin import describe
    from tests.rpc import exceptions  # these classes under their importable name

    for case in exceptions.CASES:
        data = encode(Failure(1, describe(exceptions.raised(case), Pickles(True))), 1 << 26)
        sys.stdout.buffer.write(len(data).to_bytes(4, "big") + data)
