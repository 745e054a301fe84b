"""``memsync host``: a dedicated host in the foreground."""

from __future__ import annotations

import logging
import signal
from contextlib import suppress
from queue import Empty, SimpleQueue
from types import FrameType
from typing import Any, NoReturn

from ...errors import StorageError
from ...handle import MemSync
from ...options import check_name
from ..exits import REFUSED
from ..output import Output, report

_CHECK = 1.0  # seconds between two checks for whether the peer still runs


class _End(BaseException):
    """A signal asks this process to end."""


def run(arguments: Any, out: Output) -> int | None:
    check_name(arguments.name)
    if out.as_json:
        logging.getLogger("memsync").addHandler(logging.NullHandler())
    else:
        logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s: %(message)s")
    options = {"engine": "local", "serverOnly": True}
    if arguments.config is None:
        mem: MemSync[Any] = MemSync(arguments.name, None, options)
    else:
        mem = MemSync.from_config(arguments.config, name=arguments.name, options=options)
    before = {number: signal.signal(number, _end) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        roles: SimpleQueue[str] = SimpleQueue()
        mem.on("connected", roles.put)
        with mem:
            while mem.get_status()["status"] != "stopped":
                with suppress(Empty):
                    _show(mem, out, roles.get(timeout=_CHECK))
        return report(str(mem.get_status()["reason"]), REFUSED, None, as_json=out.as_json)
    except _End:
        _check_saved(mem)
        status = mem.get_status()
        out.show(f"{mem.name}: ended at version {status['version']}", _facts(mem, "stopped"))
        return None
    except KeyboardInterrupt:
        _check_saved(mem)
        raise
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _check_saved(mem: MemSync[Any]) -> None:
    """Raise `StorageError` if this was the last peer, and its last save has failed."""
    status = mem.get_status()
    storage = status["storage"]
    if storage is None or storage["error"] is None:
        return
    url, error, saved = storage["url"], storage["error"], storage["saved_version"]
    why = error if url in error else f"{url}: {error}"
    last = "this host has saved nothing" if saved is None else f"the last save is version {saved}"
    raise StorageError(
        f"{mem.name}: version {status['version']} is not saved: {why}; {last}. Put that right "
        "before the next start"
    ) from None


def _end(number: int, frame: FrameType | None) -> NoReturn:
    """Leave the group; a further signal does not disturb that."""
    for each in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(each, signal.SIG_IGN)
    raise _End


def _show(mem: MemSync[Any], out: Output, role: str) -> None:
    facts = _facts(mem, role)
    text = "{name}: {status} in process {pid}, epoch {epoch}, version {version}"
    out.show(text.format(**facts), facts)


def _facts(mem: MemSync[Any], status: str) -> dict[str, Any]:
    import os

    now = mem.get_status()
    facts = {"name": mem.name, "status": status, "pid": os.getpid()}
    return facts | {"epoch": now["epoch"], "version": now["version"]}
