"""The commands that look at an object or change it once: output, exit status, what they leave."""

from __future__ import annotations

import io
import json
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from memsync import Event, MemSync, MemSyncError
from memsync.cli import exits
from memsync.cli.commands import ls
from memsync.cli.group import joined
from memsync.cli.schemas import SCHEMAS
from memsync.cli.table import COMMANDS
from memsync.testing import until

from .command import Ended, check, run, run_json

pytestmark = pytest.mark.process

NAME = "shop"
DATA = {"a": {"b": 7, "text": "seven"}, "items": ["tea"], "null": None}


def fail() -> None:
    raise ValueError("no")


def count(n: int) -> Iterator[int]:
    yield from range(n)


WOKEN = threading.Event()
METHODS = {"add": lambda a, b: a + b, "fail": fail, "count": count, "nap": lambda: WOKEN.wait(20)}


@pytest.fixture(autouse=True)
def _patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """`ls` shows a host that is late as one that cannot be asked."""
    monkeypatch.setattr(ls, "_PATIENCE", 20.0)


@pytest.fixture
def shop(folder: Path) -> Iterator[MemSync[Any]]:
    with MemSync[Any](NAME, DATA, {"network": {"maxWriters": 1}}, rpc=METHODS) as mem:
        yield mem


# -- get and ls ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "out"),
    [
        (["a.b"], "7\n"),
        (["a.text"], '"seven"\n'),
        (["a.text", "-r"], "seven\n"),
        (["a.b", "-r"], "7\n"),
        (["items.0", "--raw"], "tea\n"),
        (["null"], "null\n"),
        (["items"], '[\n  "tea"\n]\n'),
        ([], json.dumps(DATA, indent=2) + "\n"),
    ],
)
def test_get_prints_the_value(shop: MemSync[Any], words: list[str], out: str) -> None:
    assert run("get", NAME, *words) == Ended(0, out, "")


@pytest.mark.parametrize("path", ["a.c", "items.1", "items.-1", "a.b.c", "items.tea"])
def test_a_value_that_is_not_there_is_a_negative_answer(shop: MemSync[Any], path: str) -> None:
    assert run("get", NAME, path) == Ended(1, "", f"memsync: there is no value at {path!r}\n")
    assert run_json("get", NAME, path)["status"] == 1


@pytest.mark.parametrize("command", ["get", "watch"])
@pytest.mark.parametrize("path", ["a..b", ".", "a."])
def test_a_wrong_path_is_a_usage_error(shop: MemSync[Any], command: str, path: str) -> None:
    ended = run(command, NAME, path)
    assert (ended.status, ended.out) == (2, "")
    assert repr(path) in ended.err


def test_get_sees_a_write_and_its_version(shop: MemSync[Any]) -> None:
    version = shop.patch({"$inc": {"a.b": 1}})
    assert run_json("get", NAME, "a.b") == [{"version": version, "value": 8}]


def test_a_large_value_comes_as_a_snapshot(shop: MemSync[Any]) -> None:
    text = "x" * (2 << 20)
    shop.patch({"$set": {"text": text}})
    assert run("get", NAME, "text", "-r").out == text + "\n"
    assert run("get", NAME, "a.b").out == "7\n"


def test_a_timeout_of_zero_is_one_attempt(shop: MemSync[Any]) -> None:
    assert run("get", NAME, "a.b", "--timeout", "0").out == "7\n"
    assert run("wait", NAME, '{"a.b": 7}', "--timeout", "0").status == 0
    assert run("wait", NAME, '{"a.b": 8}', "--timeout", "0").status == 124
    assert run("lock", NAME, "l", "--timeout", "0", "--", "true").status == 0
    with shop.lock("l"):
        assert run("lock", NAME, "l", "--timeout", "0", "--", "true").status == 124
    shop.patch({"$set": {"large": "x" * (1 << 20)}})
    assert len(run("get", NAME, "large", "--raw", "--timeout", "0").out) == (1 << 20) + 1


def test_what_waits_for_an_answer_refuses_a_timeout_of_zero(shop: MemSync[Any]) -> None:
    version = shop.version
    for words in (
        ["patch", NAME, '{"$inc": {"a.b": 1}}'],
        ["call", NAME, "f"],
        ["emit", NAME, "e"],
    ):
        for seconds in ("0", "0.0001"):
            error = run_json(*words, "--timeout", seconds)
            assert error["status"] == 2
            assert f"0.001 to 3600 seconds here, not {seconds}" in error["message"]
    assert shop.version == version


def test_looking_changes_nothing(shop: MemSync[Any], folder: Path) -> None:
    def state() -> tuple[int, list[Any], list[str]]:
        names = [str(path) for path in folder.rglob("*")]
        return shop.version, shop.peers, sorted(names)

    before = state()
    for words in (["get", NAME], ["ls"], ["top", NAME, "--once"], ["doctor", NAME]):
        assert run(*words).status == 0
    assert state() == before


def test_ls_has_all_objects(shop: MemSync[Any]) -> None:
    reader = MemSync[Any](NAME, None, {"peer": {"roles": []}})
    with MemSync[Any]("Other.1", {}), reader:
        [listed] = run_json("ls")
        assert [each["name"] for each in listed] == ["Other.1", NAME]
        pid = os.getpid()
        other, own = listed
        assert (own["peers"], own["host"]["pid"], other["peers"]) == (2, pid, 1)
        assert own["version"] == shop.version
        assert own["age"] < 60
        lines = run("ls").out.splitlines()
        assert lines[0].split() == ["NAME", "HOST", "PEERS", "VERSION", "AGE"]
        assert lines[2].split()[:4] == [NAME, str(pid), "2", str(shop.version)]


def test_ls_has_also_what_cannot_be_asked(
    shop: MemSync[Any], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with MemSync[Any]("other", {}):
        (folder / "other.d").chmod(0o755)
        assert [each["name"] for each in run_json("ls")[0]] == [NAME]
        (folder / "other.d").chmod(0o700)
    monkeypatch.setattr("memsync.manager.folder.records.PROTOCOL", 0)
    [[listed]] = run_json("ls")
    assert (listed["name"], listed["host"], listed["peers"]) == (NAME, None, 1)
    assert run("get", NAME).status == 4
    monkeypatch.undo()


def test_ls_of_an_empty_folder_is_empty(folder: Path) -> None:
    assert run("ls") == Ended(0, "", "")
    assert run_json("ls") == [[]]


def test_the_doctor_prints_json(shop: MemSync[Any]) -> None:
    [answer] = run_json("doctor", NAME)
    assert answer["well"] is True
    assert run("doctor", "none").status == 1


# -- objects that do not exist ---------------------------------------------------------------------

VISITS = [
    ["get", "none"],
    ["patch", "none", "{}"],
    ["patch", "none", "{}", "--dry-run"],
    ["watch", "none"],
    ["wait", "none", "{}"],
    ["call", "none", "f"],
    ["emit", "none", "e"],
    ["events", "none"],
    ["lock", "none", "l", "--", "true"],
    ["top", "none", "--once"],
]


@pytest.mark.parametrize("words", VISITS, ids=lambda words: " ".join(words[::2]))
def test_an_object_that_does_not_exist_is_not_founded(folder: Path, words: list[str]) -> None:
    before = sorted(folder.rglob("*"))
    ended = run(*words)
    assert (ended.status, ended.out) == (3, "")
    assert "no process shares an object named 'none'" in ended.err
    assert "MEMSYNC_DIR" in ended.err
    error = run_json(*words)
    assert (error["status"], error["error"]) == (3, "ERR_RENDEZVOUS")
    assert sorted(folder.rglob("*")) == before


def test_what_a_dead_group_has_left_is_no_object(folder: Path) -> None:
    with MemSync[Any](NAME, DATA):
        pass
    assert run("get", NAME).status == 3
    assert run("ls").out == ""


# -- patch -----------------------------------------------------------------------------------------


@pytest.fixture
def free(folder: Path) -> Iterator[MemSync[Any]]:
    """An object with places for writers."""
    with MemSync[Any](NAME, DATA, rpc=METHODS) as mem:
        yield mem


def test_patch_writes_and_prints_the_version(free: MemSync[Any]) -> None:
    ended = run("patch", NAME, '{"$inc": {"a.b": 1}}')
    assert (ended.status, ended.err) == (0, "")
    assert free.snapshot("a.b") == 8
    assert 0 < int(ended.out) <= free.version
    until(lambda: not free.peers, 10, "it has not left")


def test_patch_reads_its_input(free: MemSync[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    operations = [{"op": "replace", "path": "/a/b", "value": 1}]
    monkeypatch.setattr("sys.stdin", io.StringIO(json.dumps(operations)))
    [answer] = run_json("patch", NAME, "-")
    assert free.snapshot("a.b") == 1
    assert answer["version"] <= free.version


@pytest.mark.parametrize(
    ("words", "status", "error"),
    [
        (["{"], 2, "the update is no JSON"),
        (['"text"'], 4, "update"),
        (['{"$inc": {"items": 1}}'], 4, "items"),
        (['{"$nonsense": {"a": 1}}'], 4, "$nonsense"),
        (['{"$inc": {"a.b": 1}}', "--where", '{"a.b": 8}'], 1, "does not match"),
        (['{"$inc": {"a.b": 1}}', "--where", "{"], 2, "--where is no JSON"),
        (['{"$inc": {"a.b": 1}}', "--timeout", "nan"], 2, "timeout"),
        (['{"$inc": {"a.b": 1}}', "--timeout", "x"], 2, "--timeout"),
        ([], 2, "update"),
        (['{"$inc": {"a.b": 1}}', "more"], 2, "more"),
        (['{"$set": {"a": NaN}}'], 2, "a"),
        (['{"$set": {"a": 1e999}}'], 2, "a"),
    ],
)
def test_a_refused_patch_changes_nothing(
    free: MemSync[Any], words: list[str], status: int, error: str
) -> None:
    ended = run("patch", NAME, *words)
    assert (ended.status, ended.out) == (status, ""), ended.err
    assert error in ended.err
    assert run_json("patch", NAME, *words)["status"] == status
    assert free.snapshot() == DATA


def test_an_input_that_is_no_text(free: MemSync[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"\xff"), encoding="utf-8"))
    ended = run("patch", NAME, "-")
    assert ended.status == 2
    assert "not UTF-8" in ended.err
    assert run("patch", NAME, "[" * 100_000).status == 2


def test_a_dry_run_prints_the_patch(free: MemSync[Any]) -> None:
    words = ["patch", NAME, '{"$push": {"items": "milk"}}', "--dry-run"]
    assert json.loads(run(*words).out) == [{"op": "add", "path": "/items/1", "value": "milk"}]
    assert run_json(*words)[0]["patch"] == [{"op": "add", "path": "/items/1", "value": "milk"}]
    assert run(*words, "--where", '{"a.b": 8}').status == 1
    assert run("patch", NAME, '{"$inc": {"items": 1}}', "--dry-run").status == 4
    assert free.snapshot() == DATA


def test_patch_takes_a_place_and_the_others_take_none(shop: MemSync[Any]) -> None:
    refused = run("patch", NAME, "{}")
    assert refused.status == exits.REFUSED
    assert "writer" in refused.err
    for words in (["wait", NAME, "{}"], ["emit", NAME, "e"], ["call", NAME, "add", "1", "2"]):
        assert run(*words).status == 0
    assert run("lock", NAME, "l", "--", "true").status == 0
    assert run("patch", NAME, '{"$unset": {"a": ""}}', "--dry-run").status == 0


# -- wait, call, emit ------------------------------------------------------------------------------


def test_wait_has_its_answer_in_its_status(shop: MemSync[Any]) -> None:
    assert run("wait", NAME, '{"a.b": 7}') == Ended(0, "", "")
    assert run_json("wait", NAME, '{"a.b": 7}') == [{"value": DATA}]
    assert run("wait", NAME, '{"a.b": 8}', "--timeout", "0.1").status == 124
    assert run("wait", NAME, '{"a.b": 7}', "--while", "--timeout", "0.1").status == 124
    assert run("wait", NAME, '{"a.b": 8}', "--while").status == 0
    assert run("wait", NAME, "{").status == 2
    assert run("wait", NAME, '{"$nonsense": 1}').status == 4


def test_call_prints_what_the_method_returns(shop: MemSync[Any]) -> None:
    assert run("call", NAME, "add", "1", "2").out == "3\n"
    assert run("call", NAME, "add", "1", "-2").out == "-1\n"
    assert run("call", NAME, "add", "a", "b").out == '"ab"\n'
    assert run("call", NAME, "add", "[1]", "--set", "b=[2]").out == "[1,2]\n"
    assert run("call", NAME, "add", "1", "2", "--peer", shop.id).out == "3\n"
    assert run_json("call", NAME, "count", "3") == [0, 1, 2]


@pytest.mark.parametrize(
    ("words", "status", "error"),
    [
        (["fail"], 1, "ValueError: no"),
        (["add", "1"], 1, "TypeError"),
        (["none"], 4, "no peer has a method 'none'"),
        (["add", "--set", "b"], 2, "NAME=VALUE"),
        (["nap", "--timeout", "2"], 124, "nap"),  # the join has this time, too
    ],
)
def test_a_call_that_fails(shop: MemSync[Any], words: list[str], status: int, error: str) -> None:
    WOKEN.clear()
    try:
        ended = run("call", NAME, *words)
    finally:
        WOKEN.set()
    assert (ended.status, ended.out) == (status, ""), ended.err
    assert error in ended.err


def test_emit_sends_an_event(shop: MemSync[Any]) -> None:
    stream = shop.events.stream("job.*")
    [answer] = run_json("emit", NAME, "job.done", "7", "x", "[1]")
    event = next(stream)
    assert isinstance(event, Event)
    assert event[:3] == ("job.done", (7, "x", [1]), answer["version"])
    stream.close()
    assert run("emit", NAME, "job..done").status == 2


# -- the table -------------------------------------------------------------------------------------


def test_each_command_has_a_schema_and_a_page() -> None:
    assert set(SCHEMAS) == {*COMMANDS, "error"}
    for name in COMMANDS:
        [schema] = run_json("schema", name)
        assert schema == SCHEMAS[name]


@pytest.mark.parametrize("words", [[], ["gte"], ["get"], ["get", "a", "--nope"], ["top", "a b"]])
def test_a_wrong_command_line_is_a_usage_error(folder: Path, words: list[str]) -> None:
    ended = run(*words)
    assert (ended.status, ended.out) == (2, "")
    if words[:1] != ["top"]:
        assert ended.err.startswith("usage: memsync")
    error = json.loads(run(*words, "--json").err)
    check(error, "error")
    assert (error["status"], error["error"]) == (2, "ERR_USAGE")


@pytest.mark.parametrize("name", COMMANDS)
def test_each_command_has_help(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    from memsync.cli import main

    with pytest.raises(SystemExit) as ended:
        main([name, "--help"])
    out = capsys.readouterr().out
    assert ended.value.code == 0
    assert out.startswith(f"usage: memsync {name}")
    assert "--json" in out


# -- the peer of a command -------------------------------------------------------------------------


def test_a_command_runs_no_functions_of_others(shop: MemSync[Any]) -> None:
    with joined(NAME) as reader:
        assert shop.run(len, "text") == 4
        with pytest.raises(MemSyncError, match="pickles"):
            shop.run(len, "text", on=reader.id)


def test_a_command_never_hosts_and_brings_the_object_to_the_next_host(folder: Path) -> None:
    with MemSync[Any](NAME, DATA) as mem, joined(NAME) as reader:
        mem.patch({"$set": {"a.b": 9}})
        mem.stop()
        assert [each["host"] for each in run_json("ls")[0]] == [None]
        assert run("get", NAME, "a.b", "--timeout", "0.1").status == 3
        with MemSync[Any](NAME, {"other": 1}):
            assert run("get", NAME, "a.b").out == "9\n"
            until(lambda: reader.get_status()["status"] == "client", 20, "it has no role")
