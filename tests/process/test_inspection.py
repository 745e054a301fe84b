"""Questions that a host answers to a process that does not join, and what such a process sees."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from memsync import MemSync, ProtocolError
from memsync.manager.folder.survey import read_key, seen_objects
from memsync.manager.transport.dial import inspect

pytestmark = pytest.mark.process

NAME = "inspected"


def ask(**question: Any) -> Any:
    host = next(seen_objects(NAME)).host
    assert host is not None
    return inspect(host.address, read_key(), question, timeout=5)


def test_a_status_names_members_methods_and_locks(folder: Path) -> None:
    with (
        MemSync[Any](NAME, {"n": 0}, rpc={"f": len}) as mem,
        MemSync[Any](NAME, None, {"peer": {"roles": []}}) as reader,
        reader.lock("l"),
    ):
        mem.rpc.publish("g", len)
        mem.wait_for(lambda _: len(mem.locks()) == 1, timeout=10)
        found = ask(about="status")
        assert (found["host"], found["epoch"], found["version"]) == (mem.id, mem.epoch, mem.version)
        roles = {each["id"]: each["roles"] for each in found["members"]}
        assert roles == {mem.id: ["writer"], reader.id: []}
        assert [each["methods"] for each in found["members"] if each["id"] == mem.id] == [["f"]]
        assert found["published"] == ["g"]
        assert found["locks"] == mem.locks()


def test_the_last_writes_are_described(folder: Path) -> None:
    with MemSync[Any](NAME, {"n": 0}) as mem:
        mem.events.emit("no_write")
        mem.patch({"$set": {"n": 1, "list": [1, 2], "dict": {"a": 1}, "text": "x" * 99, "z": 1}})
        version = mem.patch({"$unset": {"n": ""}})
        found = ask(about="status", recent=True)["recent"]
        assert found[0] == {"version": version, "peer": mem.id, "text": "remove /n"}
        assert len(found) == 2
        assert "and 2 more" in found[1]["text"]
        assert len(found[1]["text"]) < 200


def test_changes_since_a_version_come_from_the_log_of_the_host(folder: Path) -> None:
    with MemSync[Any](NAME, {"n": 0}) as mem:
        versions = [mem.patch({"$inc": {"n": 1}}) for _ in range(3)]
        assert ask(about="changes", path="n", since=versions[0])["values"] == [
            [2, versions[1], 0],
            [3, versions[2], 0],
        ]
        assert ask(about="changes", path="n", since=mem.version)["values"] == []
        assert ask(about="changes", path="other", since=0)["values"] == []
        [[value, version, missed]] = ask(about="changes", path="n", since=10**9)["values"]
        assert (value, version) == (3, mem.version)
        assert missed > 0


def test_too_many_changes_are_counted(folder: Path) -> None:
    with MemSync[Any](NAME, {"text": ""}) as mem:
        for number in range(9):
            mem.patch({"$set": {"text": str(number) * 200_000}})
        assert ask(about="changes", path="text", since=1) == {"values": [], "missed": 9}


def test_hosts_without_proxies_answer(folder: Path) -> None:
    with MemSync[Any](NAME, {"n": 1}, {"manager": {"proxies": False}}):
        assert ask(about="value", path="n")["value"] == 1
        assert ask(about="fields", path="")["fields"] == ["n"]


@pytest.mark.parametrize("until", [None, 7, "ab", [1], [1, "2"]])
def test_a_wrong_end_of_the_events_is_named(folder: Path, until: Any) -> None:
    with MemSync[Any](NAME, {"n": 1}), pytest.raises(ProtocolError, match="until must be a list"):
        ask(about="events", name="x", since=0, until=until)


@pytest.mark.parametrize(
    "question", [{}, {"about": "secrets"}, {"about": "value", "path": ".."}, {"about": "changes"}]
)
def test_a_wrong_question_is_refused_and_the_host_goes_on(
    folder: Path, question: dict[str, Any]
) -> None:
    with MemSync[Any](NAME, {"n": 1}) as mem:
        if question != {"about": "changes"}:
            with pytest.raises(ProtocolError, match="has refused a question"):
                ask(**question)
        else:  # without a version there are none
            assert ask(**question) == {"values": [], "missed": 0}
        mem.patch({"$inc": {"n": 1}})
        assert ask(about="value", path="n")["value"] == 2
