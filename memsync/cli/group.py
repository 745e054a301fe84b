"""How commands reach an object: a question to its host, or a peer that founds and hosts nothing."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from ..clocks import monotonic
from ..errors import HostUnresponsiveError, RendezvousError, UsageError
from ..manager.folder.paths import root_folder
from ..manager.folder.survey import SeenObject, read_key, seen_objects
from ..manager.transport.channel import ChannelLost
from ..manager.transport.dial import inspect
from ..options import check_name, check_timeout, load_options
from .interrupts import importing

if TYPE_CHECKING:
    from ..handle import MemSync

STEP = 2.0  # seconds for each step of a question; a host needs milliseconds
_LEAST = 0.1  # of them, as 0 would be no limit
_LEAST_OPTION = 0.001  # seconds, of the option timeout
_JOIN = 5.0  # seconds that a join has at least; it needs milliseconds
_FIRST_PAUSE, _LONGEST_PAUSE = 0.01, 0.25  # seconds between two attempts to reach a host
_QUIET = logging.NullHandler()  # commands report what is wrong themselves


def existing(name: str) -> SeenObject:
    """What the folder has of an object; raises `RendezvousError` if no process shares it."""
    for seen in seen_objects(check_name(name)):
        return seen
    raise RendezvousError(
        f"no process shares an object named {name!r} in {root_folder()}: start one, or set "
        "MEMSYNC_DIR to the folder of a running one ('memsync ls' lists the objects)"
    )


def ask(name: str, question: dict[str, Any], timeout: float | None = None) -> dict[str, Any]:
    """The answer of an object's host to a question; see `manager.host.inspection`.

    Goes on over a change of host. Raises `RendezvousError` where there is no object, and
    `HostUnresponsiveError` after `timeout` seconds (default: the option ``timeout``).
    """
    seconds = check_timeout(timeout, load_options(None).timeout)
    deadline, pause = monotonic() + seconds, _FIRST_PAUSE
    while True:
        host = existing(name).host
        if host is not None:
            try:
                patience = min(STEP, max(seconds, _LEAST))
                return inspect(host.address, read_key(), question, timeout=patience)
            except ChannelLost:
                pass  # the next host answers
        if monotonic() >= deadline:
            who = "no peer hosts" if host is None else f"process {host.pid} hosts"
            raise HostUnresponsiveError(
                f"the host of {name!r} did not answer within {seconds:g} s: {who} it ('memsync "
                f"doctor {name}' examines it)",
                pid=None if host is None else host.pid,
            )
        time.sleep(pause)
        pause = min(2 * pause, _LONGEST_PAUSE)


@contextmanager
def joined(name: str, *roles: str, timeout: float | None = None) -> Iterator[MemSync[Any]]:
    """A peer of an existing object that never hosts it.

    The environment may be that of a service: it makes no host, server or writer of the peer, and
    does not limit the writers of the group.

    `timeout` is for the join, and for all that has no timeout of its own.
    """
    existing(name)
    logging.getLogger("memsync").addHandler(_QUIET)
    with importing():
        from ..handle import MemSync
        from ..manager import driver  # noqa: F401  # the start would import it
        from ..rpc import peer_calls  # noqa: F401  # likewise

    options: dict[str, Any] = {
        "engine": "local",
        "clientOnly": True,
        "serverOnly": False,
        "peer": {"roles": list(roles)},
        "network": {"maxWriters": None},
        "server": {"port": None},
        "rpc": {"pickles": False},  # a prompt is no worker for functions of others
    }
    if timeout is not None:
        if 0 <= timeout < _LEAST_OPTION:
            raise UsageError(
                f"--timeout must be {_LEAST_OPTION:g} to 3600 seconds here, not {timeout:g}: the "
                "answer of the host takes time, and without it nobody knows what came of the "
                "command (get, watch, wait and lock take 0)"
            )
        options["timeout"] = check_timeout(timeout, 0)
    with MemSync[Any](name, None, options) as mem:
        yield mem


def check_since(version: int | None) -> None:
    """Raise `UsageError` for a value of --since that is no version."""
    if version is not None and version < 0:
        raise UsageError(f"--since takes the version of a line, not {version}")


def join_time(timeout: float | None) -> float | None:
    """How long a join may take for a command that waits for `timeout` seconds after it.

    A host that does not answer would else take the option ``timeout``, whatever the command says.
    """
    if timeout is None:
        return None
    usual = load_options(None).timeout
    return min(max(check_timeout(timeout, usual), _JOIN), usual)


def parse_json(text: str, what: str) -> Any:
    """The value of an argument that is JSON; raises `UsageError`."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{what} is no JSON: {error}: {text!r:.100}") from None


def json_or_text(text: str) -> Any:
    """The value of an argument that may be JSON; other text is a string."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text
