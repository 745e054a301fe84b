"""`MemSync.at`: the object as of an older version."""

from __future__ import annotations

import random
import threading
from typing import Any

import pytest

from memsync import MemSync, NotStartedError, UsageError
from memsync.document import memory_of
from tests.document.document_strategies import text


def test_each_version_of_the_log_can_be_had(engine: str) -> None:
    """With key order; also while the object has fields beside, and with a path."""
    drawn = random.Random(1)
    start = {"a": {str(n): n for n in range(300)}, "list": [], "n": 0}
    with MemSync("past", start, engine=engine) as mem:
        shown = {mem.version: text(mem.snapshot())}
        for step in range(400):
            name = str(drawn.randrange(300))
            known = name in mem.data["a"]
            place = drawn.choice(["a", "a", "list", "n"])
            if place == "a":
                update: Any = {"$unset" if known else "$set": {f"a.{name}": {"step": step}}}
            elif place == "n":
                update = {"$inc": {"n": 1}, "$set": {f"new{step % 7}": step}}
            elif step % 3:
                update = {"$push": {"list": {"$each": [{"of": step}], "$position": 0}}}
            else:
                update = {"$pop": {"list": drawn.choice([1, -1])}, "$unset": {"n": ""}}
            version = mem.patch(update)
            shown[version] = text(mem.snapshot())
        for version, expected in shown.items():
            assert text(mem.at(version)) == expected
        assert mem.at(mem.version) == mem.snapshot()
        versions = drawn.sample(sorted(shown), 30)
        for path in ("a", "list.0.of", "n", "none", "a.7"):
            for version in versions:
                whole: Any = mem.at(version)
                for part in path.split("."):
                    if isinstance(whole, list):
                        whole = whole[int(part)] if int(part) < len(whole) else None
                    else:
                        whole = None if whole is None else whole.get(part)
                assert text(mem.at(version, path)) == text(whole)


def test_a_version_that_cannot_be_had_names_those_that_can(engine: str) -> None:
    with MemSync("past", {"n": 0}, {"network": {"maxLog": 10}}, engine=engine) as mem:
        for _ in range(20):
            last = mem.patch({"$inc": {"n": 1}})
        for version in (0, last - 11, last + 1, 2**70):
            with pytest.raises(UsageError, match=f"{last - 10} to {last}") as caught:
                mem.at(version)
            assert (caught.value.oldest, caught.value.newest) == (last - 10, last)
        assert mem.at(last - 10) == {"n": 10}


@pytest.mark.parametrize("version", [None, "3", 1.0, True, -1, [1]])
def test_what_is_no_version_is_refused(engine: str, version: Any) -> None:
    with (
        MemSync("past", engine=engine) as mem,
        pytest.raises(UsageError, match="a version is a whole number"),
    ):
        mem.at(version)


@pytest.mark.parametrize("path", [3, "a..b", ["a"], "."])
def test_what_is_no_path_is_refused(engine: str, path: Any) -> None:
    with MemSync("past", engine=engine) as mem, pytest.raises(UsageError, match="path"):
        mem.at(mem.version, path)


def test_before_the_start_and_after_the_end(engine: str) -> None:
    mem = MemSync("past", {"n": 0}, engine=engine)
    with pytest.raises(NotStartedError):
        mem.at(1)
    with mem:
        before = mem.version
        mem.patch({"$inc": {"n": 1}})
    assert mem.at(before) == {"n": 0}  # as snapshot(), which stays readable


def test_what_is_returned_is_detached(engine: str) -> None:
    with MemSync("past", {"a": {"b": [1]}}, engine=engine) as mem:
        version = mem.version
        mem.patch({"$set": {"a": {"b": [{"c": 2}]}}})
        for _ in range(2):
            found = mem.at(version)
            found["a"]["b"].append(3)
            mem.at(mem.version)["a"]["b"][0]["c"] = 4
        assert mem.at(version) == {"a": {"b": [1]}}
        assert mem.snapshot() == {"a": {"b": [{"c": 2}]}}


def test_an_object_that_nothing_has_changed_yet(engine: str) -> None:
    with MemSync("past", {"n": 0}, engine=engine) as mem:
        assert mem.at(mem.version) == {"n": 0}
        assert mem.at(mem.version, "m.x") is None


def test_other_entries_are_versions_as_well(engine: str) -> None:
    with MemSync("past", {"n": 0}, engine=engine) as mem:
        first = mem.version
        mem.events.emit("one")
        mem.presence.update(status="busy")
        mem.patch({"$inc": {"n": 1}}, emit="two")
        assert [mem.at(v)["n"] for v in range(first, mem.version + 1)] == [0] * (
            mem.version - first
        ) + [1]


def test_a_newcomer_has_what_it_has_seen_and_keeps_it_as_the_next_host(engine: str) -> None:
    """A snapshot has no older versions, also if its log has the entries; a new host goes on."""
    first = MemSync[Any]("past", {"n": 0}, engine=engine)
    first.start()
    first.patch({"$inc": {"n": 1}})
    second = MemSync[Any]("past", engine=engine)
    second.start()
    with pytest.raises(UsageError) as caught:
        second.at(0)
    oldest = caught.value.oldest
    assert oldest is not None
    mine = first.patch({"$inc": {"n": 1}})
    second.wait_for({"n": 2})
    theirs = second.patch({"$inc": {"n": 10}})
    first.stop()
    last = second.patch({"$inc": {"n": 100}})
    assert second.epoch > 1
    assert [second.at(v, "n") for v in (oldest, mine, theirs, last)] == [1, 2, 12, 112]
    second.stop()


def test_threads_look_back_while_others_write(engine: str) -> None:
    with MemSync("past", {"n": 0, "list": []}, engine=engine) as mem:
        first = mem.version
        wrong: list[Any] = []

        def look() -> None:
            while mem.data["n"] < 300:
                newest = mem.version
                found = mem.at(newest)
                if found["n"] != newest - first or len(found["list"]) != found["n"]:
                    wrong.append((newest, found))
                wrong.extend(v for v in (first, newest) if mem.at(v, "n") != v - first)

        threads = [threading.Thread(target=look) for _ in range(2)]
        for thread in threads:
            thread.start()
        for step in range(300):
            mem.patch({"$inc": {"n": 1}, "$push": {"list": {"step": step}}})
        for thread in threads:
            thread.join(30)
        assert not wrong


def test_what_was_replaced_is_bounded(engine: str) -> None:
    """By `network.maxLogBytes`, beside the entries; the versions that are left can be had."""
    limit = 200_000
    options = {"network": {"maxLogBytes": limit}}
    with MemSync[Any]("past", {"n": 0, "text": "", "in": {}}, options, engine=engine) as mem:
        participant = mem._participating()
        log = participant.log
        shown = {}
        for step in range(120):
            value: Any = ["y" * 20_000, {"x": ["z" * 50] * 300}, list(range(5000)), {}][step % 4]
            mem.patch({"$set": {"text": "x" * (step % 7) * 3000, f"in.{step % 3}": value}})
            version = mem.patch({"$unset": {f"in.{step % 3}": ""}, "$inc": {"n": 1}})
            shown[version] = text(mem.snapshot())
            assert log._old_bytes == sum(map(memory_of, log._taken)) <= limit
        held = len(log.past()[0])
        assert 2 < held < 240
        for version in [version for version in shown if version >= mem.version - held]:
            assert text(mem.at(version)) == shown[version]
        with pytest.raises(UsageError):
            mem.at(mem.version - held - 1)
