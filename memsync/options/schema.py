"""The schema of the options: type, default, meaning, unit and bounds of each, stated once.

The classes are the schema, and instances of `Options` are the effective values. Spelling in files,
environment variables, checks and messages are derived from them. `load` reads the values.
"""

# Without `from __future__ import annotations`, because the schema reads the types of the fields.
import functools
import types
import typing
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, Literal, NamedTuple, TypeVar, cast, dataclass_transform

from ..errors import OptionsError

T = TypeVar("T")

ENV_PREFIX = "MEMSYNC_"
MIB = 1024 * 1024


class _Default(NamedTuple):
    """The default of an option, and what the schema says of it beside its type."""

    value: Any
    doc: str
    unit: str | None
    low: float | None
    high: float | None
    available: bool


def _option(
    default: T,
    doc: str,
    *,
    unit: str | None = None,
    low: float | None = None,
    high: float | None = None,
    available: bool = True,
) -> T:
    """An option of the schema; `available` is False while the feature does not exist yet."""
    return cast(T, _Default(default, doc, unit, low, high, available))


@dataclass_transform(frozen_default=True, kw_only_default=True)
class _Group:
    """Immutable values with defaults. A dataclass would do it, but takes 20 ms to import and make.

    The class has the defaults, and an instance only the values that differ.
    """

    _defaults: ClassVar[dict[str, _Default]]

    def __init_subclass__(cls) -> None:
        cls._defaults = {k: each for k, each in vars(cls).items() if isinstance(each, _Default)}
        for name, default in cls._defaults.items():
            setattr(cls, name, default.value)

    def __init__(self, **values: Any) -> None:
        self.__dict__.update(values)

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError(f"options cannot be changed: {name!r}")

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and other._values() == self._values()

    def __repr__(self) -> str:
        values = ", ".join(f"{name}={value!r}" for name, value in self._values().items())
        return f"{type(self).__name__}({values})"

    def _values(self) -> dict[str, Any]:
        return {
            name: getattr(self, name)
            for name in typing.get_type_hints(type(self))
            if not name.startswith("_")
        }


class PeerOptions(_Group):
    """The part that this process has in the group."""

    roles: tuple[str, ...] = _option(("writer",), "a peer without 'writer' only reads")


class NetworkOptions(_Group):
    """Limits and intervals of the group."""

    max_writers: int | None = _option(
        None, "limit on simultaneous writers, null = none; the smallest stated limit applies", low=1
    )
    window: int = _option(
        1024, "writes under way before submit() and patch() wait", unit="writes", low=1
    )
    max_frame: int = _option(
        64 * MIB, "largest single message", unit="bytes", low=1024, high=2**31 - 1
    )
    max_queue: int = _option(
        64 * MIB,
        "output queued for one peer before it gets a snapshot instead",
        unit="bytes",
        low=1024,
    )
    max_log: int = _option(10_000, "entries kept in memory", unit="entries", low=1)
    max_log_bytes: int = _option(
        64 * MIB,
        "memory for the log, for remembered writes, and for those in flight, each",
        unit="bytes",
        low=1024,
    )
    max_index: int = _option(
        4096, "paths whose last writers are remembered for the conflict rule", unit="paths", low=1
    )
    max_handshakes: int = _option(64, "concurrent unauthenticated connections", low=1)
    handshake_timeout: float = _option(
        5.0, "time to authenticate a connection", unit="s", low=0.001, high=3600
    )
    spin: int = _option(
        200,
        "how long a waiting writer and its host poll before they sleep, 0 = not at all",
        unit="microseconds",
        low=0,
        high=10_000,
    )
    linger: float = _option(
        0.001,
        "how long the host collects entries for peers that await no answer; 4 x in a flood",
        unit="s",
        low=0,
        high=1,
    )
    poll: float = _option(
        1.0, "longest interval between two checks of the folder", unit="s", low=0.01, high=60
    )
    watch: Literal["auto", "poll", "none"] = _option(
        "auto", "how changes in the folder are noticed between two checks"
    )
    lease: float = _option(
        3.0, "a host without a heartbeat for this long may be replaced", unit="s", low=0.1, high=600
    )
    recovery: float = _option(
        1.0, "how long a new host waits for the reports of survivors", unit="s", low=0.01, high=60
    )


class ServerOptions(_Group):
    """The object over HTTP."""

    port: int | None = _option(
        None, "serve the object over HTTP, 0 = at any free port, null = not", low=0, high=65535
    )
    host: str = _option("127.0.0.1", "the address to listen on")
    token: str | None = _option(None, "the bearer token that clients must send")
    allowed_hosts: tuple[str, ...] = _option(
        (), "names of this server in URLs, beside localhost and its address"
    )
    write: bool = _option(False, "let clients with the token change the object")


class FileOptions(_Group):
    """The object in a file or a bucket."""

    path: str | None = _option(
        None, "a path or a URL: s3://, gs://, az://, or what fsspec knows; the founder's"
    )
    journal: bool = _option(
        False, "keep every accepted entry in a journal beside the file; the founder's"
    )
    debounce: float = _option(
        0.1, "how long changes are collected for one save", unit="s", low=0, high=3600
    )
    fencing: Literal["required", "off"] = _option(
        "required", "whether a store may be refused that cannot keep older objects away"
    )


class JournalOptions(_Group):
    """The journal beside the file (``file.journal``)."""

    keep: int | str = _option(
        "1 GB, 30 days", "how much of it is kept: bytes, KB, MB, GB, TB or days, or both"
    )


class RpcOptions(_Group):
    """Calls that this process runs for others."""

    pickles: bool = _option(
        True, "run pickled functions, and rebuild exceptions; false: JSON values only"
    )
    threads: int = _option(8, "calls that run at the same time", low=1, high=1000)


class ManagerOptions(_Group):
    """The multiprocessing manager behind the group."""

    proxies: bool = _option(True, "serve document() to plain BaseManager clients")


class Options(_Group):
    """Every option with its effective value; ``Options()`` has the defaults.

    >>> from memsync.options import load_options
    >>> options = load_options({"network": {"maxWriters": 1}}, environ={})
    >>> options.network.max_writers, options.timeout
    (1, 30.0)
    """

    timeout: float = _option(
        30.0, "timeout of every blocking call without its own", unit="s", low=0.001, high=3600
    )
    engine: Literal["local", "memory"] = _option(
        "local", "who can share the object: processes of this machine, or handles of this process"
    )
    log_events: bool = _option(False, "trace each write on the logger memsync.trace")
    server_only: bool = _option(False, "a dedicated host, preferred in elections")
    client_only: bool = _option(False, "never become host")
    conflict: Literal["timestamp", "strict", "last"] = _option(
        "timestamp", "how writes that have not seen each other are decided"
    )
    on_max_writers: Literal["raise", "wait"] = _option(
        "raise", "what start() does when all writers' places are taken"
    )
    peer: PeerOptions = PeerOptions()
    network: NetworkOptions = NetworkOptions()
    server: ServerOptions = ServerOptions()
    file: FileOptions = FileOptions()
    journal: JournalOptions = JournalOptions()
    rpc: RpcOptions = RpcOptions()
    manager: ManagerOptions = ManagerOptions()
    _stated: Mapping[str, Any] = types.MappingProxyType({})


class OptionSpec(NamedTuple):
    """One row of the schema; ``low`` and ``high`` are inclusive, in ``unit``."""

    group: str | None
    name: str
    type: Any
    default: Any
    doc: str
    unit: str | None
    low: float | None
    high: float | None
    available: bool

    @property
    def key(self) -> str:
        """The key as written in configuration files: ``network.maxWriters``."""
        return dotted(self.group, camel(self.name))

    @property
    def env(self) -> str:
        """The name of its environment variable: ``MEMSYNC_NETWORK_MAX_WRITERS``."""
        return ENV_PREFIX + "_".join(filter(None, (self.group, self.name))).upper()

    @property
    def expected(self) -> str:
        """The valid values in words: ``a whole number of bytes from 1024``."""
        kind, *null = alternatives(self.type)
        unit = {None: "", "s": " of seconds"}.get(self.unit, f" of {self.unit}")
        low = "" if self.low is None else f" from {self.low:g}"
        high = "" if self.high is None else f" to {self.high:.10g}"
        return _words(kind) + unit + low + high + (", or null" if null else "")


@functools.cache
def schema() -> dict[str, OptionSpec]:
    """Every option by its dotted attribute path, such as ``network.max_writers``."""
    return {dotted(spec.group, spec.name): spec for spec in _rows(Options, None)}


def _rows(cls: type[_Group], group: str | None) -> Iterator[OptionSpec]:
    for name, kind in typing.get_type_hints(cls).items():
        if name in cls._defaults:
            yield OptionSpec(group, name, kind, *cls._defaults[name])
        elif name in groups():
            yield from _rows(kind, name)


@functools.cache
def groups() -> frozenset[str]:
    """The names of the groups of options."""
    return frozenset(name for name, each in vars(Options).items() if isinstance(each, _Group))


def camel(name: str) -> str:
    """``max_writers`` as configuration files write it: ``maxWriters``."""
    head, *tail = name.split("_")
    return head + "".join(part.capitalize() for part in tail)


def dotted(group: str | None, name: str) -> str:
    """The path of an option: ``network.maxWriters``; without a group, its name."""
    return name if group is None else f"{group}.{name}"


def alternatives(kind: Any) -> tuple[Any, ...]:
    """The members of a union such as ``int | None``; any other type alone."""
    return typing.get_args(kind) if isinstance(kind, types.UnionType) else (kind,)


def _words(kind: Any) -> str:
    if typing.get_origin(kind) is Literal:
        return " or ".join(repr(choice) for choice in typing.get_args(kind))
    if typing.get_origin(kind) is tuple:
        return "a list of strings"
    words = {bool: "true or false", int: "a whole number", float: "a number", str: "a string"}
    return words[kind]


def checked(spec: OptionSpec, value: Any, source: str) -> Any:
    """The value as the schema's type; raises `OptionsError` for an invalid one."""
    if value is False and "off" in typing.get_args(spec.type):
        value = "off"  # as YAML 1.1 reads a bare off
    for kind in alternatives(spec.type):
        if _fits(kind, value) and _in_bounds(spec, value):
            return _converted(kind, value)
    hint = ""
    if spec.key == "timeout" and _fits(float, value) and 3600 < value <= 3_600_000:
        hint = f"; the unit is seconds, did you mean {value / 1000:g}?"
    raise OptionsError(
        f"{source}: {spec.key} = {value!r}: expected {spec.expected}{hint}",
        key=spec.key,
        source=source,
    )


def _fits(kind: Any, value: Any) -> bool:
    if typing.get_origin(kind) is Literal:
        return isinstance(value, str) and value in typing.get_args(kind)
    if typing.get_origin(kind) is tuple:
        return isinstance(value, list | tuple) and all(isinstance(item, str) for item in value)
    if kind is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    return isinstance(value, kind) and not (kind is int and isinstance(value, bool))


def _in_bounds(spec: OptionSpec, value: Any) -> bool:
    # NaN compares false with everything, so this form refuses it.
    if spec.low is not None and value is not None and not value >= spec.low:
        return False
    return spec.high is None or value is None or value <= spec.high


def _converted(kind: Any, value: Any) -> Any:
    if kind is float:
        return float(value)
    return tuple(value) if isinstance(value, list) else value
