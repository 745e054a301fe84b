"""Server-sent events: order, replay after a loss, snapshots, bounds, ends."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from typing import Any

import jsonpatch
import pytest

from memsync import MemSync
from memsync.clocks import monotonic
from memsync.http import streams
from memsync.testing import Cluster, until

from .client import fetch, free_port, is_serving, url_of
from .event_source import Stream, events_of, open_raw

pytestmark = pytest.mark.process

DATA = {"n": 0, "a": {"b": [1, 2], "1": "x"}}


@pytest.fixture(params=["memory", pytest.param("local", marks=pytest.mark.slow)])
def mem(request: pytest.FixtureRequest) -> Iterator[MemSync[Any]]:
    with MemSync("foo", DATA, {"server": {"port": 0}, "engine": request.param}) as mem:
        yield mem


def patches(mem: MemSync[Any]) -> None:
    mem.patch({"$inc": {"n": 1}})
    mem.patch({"$push": {"a.b": 3}})
    mem.patch({"$set": {"a.c": {}}})


class TestEvents:
    def test_a_stream_begins_with_the_value_and_goes_on_with_the_patches(
        self, mem: MemSync[Any]
    ) -> None:
        with Stream(url_of(mem) + "/changes") as stream:
            first = stream.next()
            assert stream.response.headers["content-type"].startswith("text/event-stream")
            assert first.data == {
                "epoch": mem.epoch,
                "version": mem.version,
                "exists": True,
                "value": DATA,
            }
            before = mem.version
            patches(mem)
            found = [stream.next() for _ in range(3)]
        assert [event.name for event in found] == ["patch"] * 3
        assert [event.id for event in found] == [f"{mem.epoch}-{before + n}" for n in (1, 2, 3)]
        assert [event.data["patch"] for event in found] == [
            [{"op": "replace", "path": "/n", "value": 1}],
            [{"op": "add", "path": "/a/b/2", "value": 3}],
            [{"op": "add", "path": "/a/c", "value": {}}],
        ]
        assert {event.data["peer"] for event in found} == {mem.id}

    def test_the_stream_of_a_part_has_its_patches_only(self, mem: MemSync[Any]) -> None:
        with Stream(url_of(mem) + "/a/b/changes") as stream:
            assert stream.next().data["value"] == [1, 2]
            patches(mem)
            mem.patch({"$set": {"a.b": []}})
            assert stream.next().data["patch"] == [{"op": "add", "path": "/2", "value": 3}]
            assert stream.next().data["patch"] == [{"op": "replace", "path": "", "value": []}]

    def test_a_part_that_is_not_there_yet(self, mem: MemSync[Any]) -> None:
        with Stream(url_of(mem) + "/new/changes") as stream:
            first = stream.next().data
            assert (first["exists"], first["value"]) == (False, None)
            mem.patch({"$set": {"new": 1}})
            assert stream.next().data["patch"] == [{"op": "add", "path": "", "value": 1}]
            mem.patch({"$unset": {"new": 1}})
            assert stream.next().data["patch"] == [{"op": "remove", "path": ""}]

    def test_what_a_patch_does_not_tell_of_a_part_comes_as_its_value(
        self, mem: MemSync[Any]
    ) -> None:
        with Stream(url_of(mem) + "/a/b/1/changes") as stream:
            assert stream.next().data["value"] == 2
            for update, value in [
                ({"$push": {"a.b": {"$each": [0], "$position": 0}}}, 1),
                ({"$pop": {"a.b": -1}}, 2),
                ({"$set": {"a": {"b": [5, 6]}}}, 6),
            ]:
                mem.patch(update)
                event = stream.next()
                assert (event.name, event.data["value"]) == ("snapshot", value)

    @pytest.mark.parametrize("part", ["", "/a", "/a/b", "/a/b/0", "/a/1", "/l/1/x"])
    def test_a_client_that_applies_the_patches_has_the_value(self, part: str) -> None:
        rng = random.Random(part)
        with MemSync("foo", {**DATA, "l": []}, {"server": {"port": 0}}, engine="memory") as mem:
            with Stream(url_of(mem) + part + "/changes") as stream:
                for _ in range(60):
                    mem.patch(random_update(rng))
                mem.patch({"$set": {"a": "end", "l": "end"}})
                version, value = -1, None
                while version < mem.version:
                    event = stream.next()
                    assert event.data["version"] > version
                    version = event.data["version"]
                    if event.name == "snapshot":
                        value = event.data["value"]
                    else:
                        value = applied(value, event.data["patch"])
                        state = mem.snapshot() if version == mem.version else None
                        assert state is None or not part or value is None or value == "end"
            answer = fetch(url_of(mem) + part)
            assert value == (answer.json if answer.status == 200 else None)


def applied(value: Any, patch: list[dict[str, Any]]) -> Any:
    """The value of a part after a patch; None stands for no value."""
    for operation in patch:
        if operation["path"] == "":
            value = operation.get("value")
        else:
            value = jsonpatch.apply_patch(value, [operation])
    return value


def random_update(rng: random.Random) -> dict[str, Any]:
    n = rng.randrange(5)
    return rng.choice(
        [
            {"$set": {"n": n}},
            {"$set": {f"a.{n}": {"x": n}}},
            {"$unset": {f"a.{n}": 1}},
            {"$set": {"a": {"b": [n], "1": {"y": n}}}},
            {"$push": {"l": {"$each": [{"x": n}], "$position": 0}}},
            {"$push": {"l": {"x": n}}},
            {"$pop": {"l": -1}},
            {"$pull": {"l": {"x": n}}},
            {"$set": {"l": [{"x": 1}, {"x": n}]}},
        ]
    )


class TestReplay:
    def test_a_client_gets_what_it_missed_and_nothing_twice(self, mem: MemSync[Any]) -> None:
        with Stream(url_of(mem) + "/changes") as stream:
            stream.next()
            mem.patch({"$inc": {"n": 1}})
            last = stream.next().id
        patches(mem)
        with Stream(url_of(mem) + "/changes", last) as stream:
            found = [stream.next() for _ in range(3)]
            assert [event.name for event in found] == ["patch"] * 3
            mem.patch({"$inc": {"n": 1}})
            assert stream.next().data["version"] == mem.version

    def test_since_is_for_the_first_connection(self, mem: MemSync[Any]) -> None:
        since = f"{mem.epoch}-{mem.version}"
        mem.patch({"$inc": {"n": 1}})
        middle = f"{mem.epoch}-{mem.version}"
        mem.patch({"$inc": {"n": 1}})
        with Stream(f"{url_of(mem)}/changes?since={since}") as stream:
            assert stream.next().data["version"] == mem.version - 1
        with Stream(f"{url_of(mem)}/changes?since={since}", middle) as stream:
            assert stream.next().data["version"] == mem.version

    @pytest.mark.parametrize("last", ["0-1", "9-2", "1-999", "nonsense", "1-2-3"])
    def test_what_the_log_does_not_know_begins_with_a_snapshot(
        self, mem: MemSync[Any], last: str
    ) -> None:
        with Stream(url_of(mem) + "/changes", last) as stream:
            assert stream.next().name == "snapshot"

    def test_what_the_log_has_no_more_too(self) -> None:
        options = {"server": {"port": 0}, "network": {"maxLog": 5}}
        with MemSync("foo", DATA, options, engine="memory") as mem:
            last = f"{mem.epoch}-{mem.version}"
            for _ in range(6):
                mem.patch({"$inc": {"n": 1}})
            with Stream(url_of(mem) + "/changes", last) as stream:
                event = stream.next()
            assert (event.name, event.data["value"]["n"]) == ("snapshot", 6)

    def test_a_since_that_is_no_id_is_400(self, mem: MemSync[Any]) -> None:
        answer = fetch(url_of(mem) + "/changes?since=7")
        assert (answer.status, answer.json["code"]) == (400, "ERR_USAGE")

    @pytest.mark.parametrize("number", [300, pytest.param(10_000, marks=pytest.mark.slow)])
    def test_each_change_once_while_the_serving_host_is_killed(
        self, cluster: Cluster, number: int
    ) -> None:
        options = {"server": {"port": free_port()}}
        for _ in range(3):
            cluster.peer({"n": 0}, options, name="foo")
        url = f"http://127.0.0.1:{options['server']['port']}/foo/n/changes"
        seen: list[int] = []
        pids = set()
        # The writer is no host, or the peers would have none to kill.
        with MemSync[Any]("foo", None, {"clientOnly": True}) as writer:

            def follow() -> None:
                for event in events_of(url):
                    if event.name == "patch":
                        seen.extend(operation["value"] for operation in event.data["patch"])
                    elif event.name == "snapshot":
                        seen.append(event.data["value"])
                    if seen and seen[-1] == number:
                        return

            thread = threading.Thread(target=follow)
            thread.start()
            until(lambda: seen)
            for n in range(1, number + 1):
                writer.patch({"$set": {"n": n}})
                if n in (number // 3, 2 * number // 3):
                    pids.add(cluster.kill_host().pid)
            thread.join(60)
            assert not thread.is_alive(), f"saw {len(seen)} up to {seen[-1]}"
        assert len(pids) == 2
        assert seen == list(range(number + 1))


class TestBounds:
    def test_a_comment_keeps_the_connection_and_the_place(
        self, mem: MemSync[Any], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(streams, "PING_SECONDS", 0.05)
        with Stream(url_of(mem) + "/a/changes") as stream:
            stream.next()
            mem.patch({"$inc": {"n": 1}})
            here = f"{mem.epoch}-{mem.version}"
            assert next(event for event in stream if event.id == here).name == ""

    def test_a_client_that_reads_nothing_is_cut_off(
        self, mem: MemSync[Any], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(streams, "STALL_SECONDS", 0.05)
        with open_raw(url_of(mem) + "/changes", 4096):
            until(lambda: mem._participating().entry_waiters.waiting)
            begin, written = monotonic(), 0
            while mem._participating().entry_waiters.waiting:
                mem.patch({"$set": {"text": f"{written}" + "x" * 100_000}})
                written += 100_000
                assert monotonic() - begin < 20, "it was not cut off"
            assert written > streams.MAX_BEHIND

    def test_a_thousand_opened_and_dropped_leave_nothing(self, mem: MemSync[Any]) -> None:
        url, waiting = url_of(mem) + "/changes", mem._participating().entry_waiters.waiting
        before = list(waiting)
        for _ in range(20):
            connections = [open_raw(url) for _ in range(50)]
            assert all(each.recv(100) for each in connections)
            for each in connections:
                each.close()
        until(lambda: waiting == before)
        serving = mem._peer.serving
        assert serving is not None
        listener = serving._server._listener
        until(lambda: listener is not None and not listener.connections)
        assert fetch(url_of(mem)).status == 200


class TestEnd:
    @pytest.mark.usefixtures("patient_end")
    def test_a_stop_ends_the_streams(self, mem: MemSync[Any]) -> None:
        with Stream(url_of(mem) + "/changes") as stream:
            stream.next()
            mem.stop()
            assert not is_serving()
            assert [event for event in stream if event.name] == []

    def test_a_process_with_a_hundred_streams_ends_on_sigterm(self, cluster: Cluster) -> None:
        program = (
            "import signal, sys, threading\n"
            "from memsync import MemSync\n"
            "signal.signal(signal.SIGTERM, lambda *_: sys.exit(7))\n"
            "mem = MemSync('foo', {'n': 1}, {'server': {'port': 0}})\n"
            "mem.start()\n"
            "print(mem.get_status()['server']['url'], flush=True)\n"
            "signal.pause()\n"
        )
        process = subprocess.Popen(
            [sys.executable, "-c", program], stdout=subprocess.PIPE, text=True
        )
        assert process.stdout is not None
        with process, process.stdout:
            url = process.stdout.readline().strip() + "/changes"
            connections = [open_raw(url) for _ in range(100)]
            assert all(each.recv(100) for each in connections)
            process.send_signal(signal.SIGTERM)
            assert process.wait(20) == 7
        for each in connections:
            each.close()
