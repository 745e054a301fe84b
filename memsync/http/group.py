"""The part of ``/<name>/status`` about the group: members, locks, round trips, versions to have."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Any

from ..errors import MemSyncError
from ..replication.lock_part import lock_facts
from ..runtime.own_threads import OwnThread
from .served import wake

if TYPE_CHECKING:
    from ..engine import Engine
    from .served import Served

PING_SECONDS = 1.0


async def status_of(served: Served, *, pings: bool) -> dict[str, Any]:
    """The status of the peer with the group around it; with `pings` also the round trips."""
    participant = served.participant
    times = await _shared_round_trips(served) if pings else {}
    with participant.guard:
        state, log = participant.state, participant.log
        members, host = dict(state.members), state.host
        locks, oldest = lock_facts(state), log.base_version
    return {
        **served.describe(),
        "members": [
            {
                "id": member["id"],
                "pid": member["pid"],
                "roles": list(member["roles"]),
                "host": member["id"] == host,
                "ping": times.get(member["id"]),
            }
            for member in members.values()
        ],
        "locks": locks,
        "oldest": oldest,
    }


async def _shared_round_trips(served: Served) -> dict[str, float | None]:
    """The round trips; requests at the same time share one measurement."""
    if served.pinging is None:
        served.pinging = asyncio.ensure_future(_round_trips(served.engine))
        served.pinging.add_done_callback(lambda _: setattr(served, "pinging", None))
    return await asyncio.shield(served.pinging)


async def _round_trips(engine: Engine) -> dict[str, float | None]:
    """The seconds to each peer that this one can ask: to the host, or at the host to all."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[dict[str, Any]] = loop.create_future()

    def settle(found: dict[str, Any]) -> None:
        if not done.done():
            done.set_result(found)

    def ping() -> None:
        found: dict[str, Any] = {}
        try:
            found = engine.ping(PING_SECONDS)
        except MemSyncError:
            pass  # there is no answer in time, or no host
        finally:
            wake(loop, partial(settle, found))

    OwnThread(ping, "memsync-http-ping").start()
    found = await done
    times = {each["id"]: each["time"] for each in found.get("clients", [])}
    host = engine.status().host
    if host is not None and "host" in found:
        times[host["id"]] = found["host"]["time"]
    return times
