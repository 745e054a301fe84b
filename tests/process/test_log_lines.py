"""What memsync logs: a line for each change of state, none for a write, a trace on request."""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Iterator
from typing import Any

import pytest
from msgspec.structs import replace

from memsync import ConditionError, ConflictError, MemSync, RendezvousError
from memsync.manager.folder.folder import ObjectFolder
from memsync.manager.timing import TIMING
from memsync.manager.transport import server
from memsync.testing import NAME, Cluster, until

from ..process_helpers import host_of

pytestmark = pytest.mark.process

TRACE = "memsync.trace"


@pytest.fixture(autouse=True)
def level_of_the_trace() -> Iterator[None]:
    """The option sets it for the process."""
    yield
    logging.getLogger(TRACE).setLevel(logging.NOTSET)


def lines(caplog: pytest.LogCaptureFixture, level: int = logging.INFO) -> list[str]:
    return [
        record.getMessage()
        for record in caplog.records
        if record.name.startswith("memsync.") and record.levelno >= level
    ]


def only(found: list[str], beginning: str) -> str:
    (line,) = [line for line in found if line.startswith(beginning)]
    return line


def test_each_change_of_state_has_one_line_and_a_write_has_none(
    cluster: Cluster, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "memsync")
    with MemSync[Any](NAME, {"n": 0}) as mem:
        client = cluster.peer()
        peer, other = mem.id, client.run(lambda mem: mem.id)
        before = lines(caplog)
        for _ in range(20):
            mem.patch({"$inc": {"n": 1}})
            client.patch({"$inc": {"n": 1}})
        assert lines(caplog) == before
    found = lines(caplog)
    assert f"name={NAME} peer={peer}" in only(found, "campaigning")
    assert f"name={NAME} peer={peer} epoch=1" in only(found, "host ")
    assert not [line for line in found if "granted" in line or "witness" in line]
    assert only(found, "attached").endswith(f"peer={other} pid={client.pid}")
    assert only(found, "handed over").endswith(f"to={other}")
    assert f"peer={peer} epoch=1" in only(found, "stopped")
    assert lines(caplog, logging.WARNING) == []
    assert not [record for record in caplog.records if record.name == TRACE]


def test_a_client_says_whom_it_follows_and_why_no_more(
    cluster: Cluster, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "memsync")
    host = cluster.peer({"n": 0})
    of_host = host.run(lambda mem: mem.id)
    with MemSync[Any](NAME) as mem:
        assert only(lines(caplog), "client").endswith(f"host={of_host} host_pid={host.pid}")
        host.kill()
        # The status is the new one an instant before the line is written.
        until(lambda: any(line.startswith("host ") for line in lines(caplog)))
        assert mem.get_status()["status"] == "host"
        found = lines(caplog)
    assert "reason=" in only(found, "searching for a host")
    assert "next_epoch=2" in only(found, "campaigning")
    assert "epoch=2" in only(found, "host ")


def test_whoever_runs_without_a_host_says_so_once(
    cluster: Cluster, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unwell(self: ObjectFolder) -> None:
        raise RendezvousError("the folder is unwell")

    host = cluster.peer({"n": 0})
    with MemSync[Any](NAME, options={"clientOnly": True, "network": {"poll": 0.05}}) as mem:
        host.kill()
        until(lambda: mem.get_status()["status"] == "starting")
        with monkeypatch.context() as patch:
            patch.setattr(ObjectFolder, "latest_epoch", unwell)
            until(lambda: "unwell" in (mem.get_status()["reason"] or ""))
        cluster.peer()
        until(lambda: mem.get_status()["status"] == "client")
    assert f"name={NAME}" in only(lines(caplog), "without a host")


def all_handlers() -> list[logging.Handler]:
    names = [name for name in logging.root.manager.loggerDict if name.startswith("memsync")]
    return [handler for name in sorted(names) for handler in logging.getLogger(name).handlers]


def test_the_option_turns_the_trace_on_and_no_handler(caplog: pytest.LogCaptureFixture) -> None:
    caplog.handler.setLevel(logging.NOTSET)  # as it is where nobody says anything
    handlers = all_handlers()
    with MemSync[Any](NAME, {"n": 0}, {"logEvents": True}) as mem:
        version = mem.patch({"$set": {"secret": "hunter2"}})
        with pytest.raises(ConditionError):
            mem.patch({"$inc": {"n": 1}}, where={"n": 5})
    traced = [record.getMessage() for record in caplog.records if record.name == TRACE]
    own = [line for line in traced if "number=1 " in line or line.endswith("number=1")]
    assert sorted(line.split(" name=")[0] for line in own) == ["ordered", "proposed", "resolved"]
    assert f"version={version}" in only(own, "resolved")
    assert "why=ERR_CONDITION" in only(traced, "not ordered")
    assert "error=ConditionError" in "".join(traced)
    assert "hunter2" not in "".join(traced)
    assert all_handlers() == handlers


def test_the_trace_names_who_wrote_where(
    cluster: Cluster, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.handler.setLevel(logging.NOTSET)
    with MemSync[Any](NAME, {"n": 0, "l": []}, {"logEvents": True}) as mem:
        peer = cluster.peer()
        peer.patch({"$set": {"a.b": "secret"}, "$push": {"l": "secret"}})
        peer.patch({"$set": {f"k{number}": 0 for number in range(9)}})
        with pytest.raises(ConflictError):
            peer.patch([{"op": "test", "path": "/n", "value": 7}])
        mem.patch({"$inc": {"n": 1}})
        writer = peer.run(lambda mem: mem.id)
        me = mem.id
    traced = [record.getMessage() for record in caplog.records if record.name == TRACE]
    assert all(f" pid={os.getpid()} " in line for line in traced)
    theirs = f"writer={writer} writer_pid={peer.pid}"
    first, many = [line for line in traced if line.startswith("ordered") and theirs in line][-2:]
    assert "'/a'" in first
    assert "'/l/0'" in first or "'/l/-'" in first
    assert "and 4 more" in many
    assert f"{theirs} number=3 why=ERR_CONFLICT path=/n" in only(traced, "not ordered")
    own = f"writer={me} writer_pid={os.getpid()}"
    assert only([line for line in traced if own in line and "kind=patch" in line], "ordered")
    assert "secret" not in "".join(traced)


def test_a_client_traces_what_it_applies(
    cluster: Cluster, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.handler.setLevel(logging.NOTSET)
    host = cluster.peer({"n": 0})
    writer = host.run(lambda mem: mem.id)
    with MemSync[Any](NAME, options={"logEvents": True}) as mem:
        host.patch({"$inc": {"n": 1}})
        mem.wait_for({"n": 1}, timeout=10)
    traced = [record.getMessage() for record in caplog.records if record.name == TRACE]
    applied = [line for line in traced if line.startswith("applied") and "kind=patch" in line]
    assert len(applied) == 1
    assert f"writer_pid={host.pid}" in applied[0]
    assert applied[0].endswith("paths=['/n']")
    assert f"writer={writer}" in applied[0]


def test_a_level_that_the_program_has_set_stays() -> None:
    logging.getLogger(TRACE).setLevel(logging.ERROR)
    with MemSync[Any](NAME, {"n": 0}, {"logEvents": True}) as mem:
        mem.patch({"$inc": {"n": 1}})
    assert logging.getLogger(TRACE).level == logging.ERROR


def test_a_flood_of_strangers_has_a_line_a_second_and_a_count(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.DEBUG, "memsync")
    monkeypatch.setattr(server, "TIMING", replace(TIMING, refusal_lines=3600.0))

    def told() -> list[str]:
        return [line for line in lines(caplog, logging.DEBUG) if "connection refused" in line]

    with MemSync[Any](NAME, {}) as mem:
        address = mem.get_status()["host"]["address"]

        def knock() -> None:
            with socket.socket(socket.AF_UNIX) as sock:
                sock.connect(address)

        def wait_for_lines(number: int) -> None:
            until(lambda: len(told()) == number)

        for number in range(1, 21):
            knock()
            wait_for_lines(number)
        assert len([line for line in lines(caplog) if "connection refused" in line]) == 1
        host_of(mem).claim.server._refusals._next_line = 0.0
        knock()
        until(lambda: len(told()) == 21)
        assert told()[-1].endswith(", and 19 more since the last such line")
