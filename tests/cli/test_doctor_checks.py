"""What the doctor concludes from facts: what is wrong, what is only worth a note, the way out."""

from __future__ import annotations

from typing import Any

import pytest

from memsync.cli.doctor.checks import Finding, check, is_well

Facts = dict[str, Any]

FACTS: Facts = {
    "versions": {"memsync": "1.0", "protocol": 3, "python": "3.11", "system": "Linux"},
    "folder": {
        "path": "/x/m",
        "reason": "the default",
        "exists": True,
        "problem": None,
        "others": {},
        "relative": None,
    },
    "key_problem": None,
    "asked_for": None,
    "lease": 3.0,
    "objects": [],
    "failures": [],
}
HOST = {"pid": 10, "state": "S", "program": "python host.py"}
CLIENT = {"pid": 11, "state": "S", "program": "python client.py"}
LOCK = {
    "epoch": 7,
    "is_witness": False,
    "held": True,
    "is_damaged": False,
    "is_open": True,
    "protocol": 3,
    "name": "obj",
    "id": "aa",
    "address": "/x/7-aa.sock",
    "since": 1.0,
    "silent_for": 0.0,
    "process": HOST,
}
HOST_FILE = {
    "id": "aa",
    "held": True,
    "roles": ["writer"],
    "max_writers": None,
    "stands_by": False,
    "client_only": False,
    "server_only": False,
    "obstacle": None,
    "storage": None,
    "process": HOST,
}
PEER = {**HOST_FILE, "id": "bb", "process": CLIENT}
OBJECT = {
    "name": "obj",
    "path": "/x/obj.d",
    "lock": LOCK,
    "locks": [LOCK, {**LOCK, "is_witness": True}],
    "peers": [HOST_FILE, PEER],
    "rendezvous": {"id": "aa", "memsync": "1.0", "python": "3.11"},
    "sockets": {"/x/7-aa.sock": 7},
    "temporaries": [],
    "answer": {"error": None, "seconds": 0.001},
    "named_locks": None,
    "unreadable": [],
}


def checked(**changes: Any) -> list[Finding]:
    """The findings about an object that differs in something from one where all is well."""
    return check({**FACTS, "objects": [{**OBJECT, **changes}]})


def texts(found: list[Finding], *levels: str) -> list[str]:
    return [each.text for each in found if each.level in levels]


def lock(**changes: Any) -> Facts:
    changed = {**LOCK, **changes}
    return {"lock": changed, "locks": [changed]}


def peers(*others: Facts) -> Facts:
    return {"peers": [HOST_FILE, *others]}


def test_a_healthy_object_gives_nothing_to_act_on() -> None:
    found = checked()
    assert texts(found, "wrong", "note") == []
    assert is_well(found)
    shown = "\n".join(texts(found, "ok"))
    assert "host: process 10 (python host.py), peer aa, epoch 7, since 1970-01-0" in shown
    assert "peer bb: process 11 (python client.py), writer" in shown
    assert "the host answered in 1.0 ms" in shown


STOPPED = {**HOST, "state": "T"}
FROZEN = {**PEER, "process": {**CLIENT, "state": "T"}}
FREE: Facts = {"held": False, "process": None}

WRONG: dict[str, tuple[Facts, str, str]] = {
    "frozen host": (lock(process=STOPPED), "writes wait until another peer", "kill -CONT 10"),
    "traced host": (lock(process={**HOST, "state": "t"}), "is stopped", "kill -CONT 10"),
    "silent host": (lock(silent_for=9.0), "no heartbeat for 9.0 s", "process 10"),
    "no answer": ({"answer": {"error": "too late"}}, "too late", "end process 10"),
    "another protocol": (lock(protocol=2), "protocol 2, this memsync 3", "one version"),
    "damaged lock": (lock(is_damaged=True, process=None), "damaged", "end the process"),
    "no host": (lock(**FREE), "no host, although 2 peers are running", "retry"),
    "only clients": (
        {**lock(**FREE), "peers": [{**PEER, "client_only": True}]},
        "all running peers are clientOnly",
        "start a peer that may host",
    ),
    "only frozen peers": (
        {**lock(**FREE), "peers": [{**FROZEN, "roles": []}, {**PEER, "client_only": True}]},
        "all peers that may host are stopped",
        "continue one",
    ),
    "frozen peer": (peers(FROZEN), "keeps its writer's place", "kill -CONT 11"),
    "peer without a host": (peers({**PEER, "obstacle": "no place"}), "no host: no place", ""),
    "unreadable": ({"unreadable": ["/x/y is a link: remove it"]}, "is a link", ""),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_has_a_way_out(case: str) -> None:
    changes, text, advice = WRONG[case]
    finding = next(each for each in checked(**changes) if each.level == "wrong")
    assert text in finding.text
    assert advice in finding.advice
    assert finding.about == "object obj"


def test_nobody_takes_over_from_a_frozen_host_if_the_others_are_frozen_too() -> None:
    found = checked(**lock(process=STOPPED), **peers(FROZEN))
    assert "the host is stopped (state T): writes wait" in texts(found, "wrong")


LIMITED = {**PEER, "max_writers": 2}
STANDBY = {**PEER, "max_writers": 1, "stands_by": True}
NOTED: dict[str, tuple[Facts, str]] = {
    "no place left": (peers(LIMITED), "all 2 writers' places are taken, by processes 10, 11"),
    "one that stands by": (
        {"peers": [{**HOST_FILE, "max_writers": 1}, STANDBY]},
        "all 1 writers' places are taken, by processes 10",
    ),
    "not asked": ({"answer": None}, "was not contacted"),
    "another version": (
        {"rendezvous": {"id": "aa", "memsync": "0.9", "python": "3.12"}},
        "memsync 0.9",
    ),
    "damaged peer": (peers({**PEER, "process": None}), "bb is running, but its file is damaged"),
    "dead peer": (peers({**PEER, "held": False}), "stale files of dead peers: bb"),
    "dead socket": ({"sockets": {"/x/6-cc.sock": 6}}, "sockets of dead hosts: /x/6-cc.sock"),
    "old lock": ({"locks": [LOCK, {**LOCK, **FREE, "epoch": 5}]}, "earlier epochs: 5"),
    "old file": ({"temporaries": ["/x/tmp-1"]}, "temporary files: /x/tmp-1"),
}


@pytest.mark.parametrize("case", NOTED)
def test_what_passes_by_itself_is_a_note(case: str) -> None:
    changes, text = NOTED[case]
    found = checked(**changes)
    assert text in texts(found, "note")[0]
    assert len(texts(found, "note")) == 1
    assert is_well(found)


def test_readers_and_dead_peers_take_no_writers_place() -> None:
    found = checked(**peers({**LIMITED, "roles": []}, {**PEER, "held": False}))
    assert "places" not in str(found)


def test_a_candidate_is_not_host_yet() -> None:
    found = checked(**lock(is_open=False), rendezvous={"id": None, "memsync": None})
    assert "candidate for host: process 10" in "".join(texts(found, "ok"))
    assert texts(found, "wrong", "note") == []


def test_a_dedicated_host_and_its_port_are_named() -> None:
    found = checked(peers=[{**HOST_FILE, "server_only": True}], **lock(address=("::1", 80)))
    shown = "".join(texts(found, "ok"))
    assert "peer aa, dedicated (serverOnly), epoch 7" in shown
    assert "at ::1:80" in shown


def test_an_object_that_no_process_shares_is_well() -> None:
    found = checked(**lock(**FREE), peers=[])
    assert "the last epoch was 7" in "".join(texts(found, "ok"))
    assert "sockets of dead hosts" in texts(found, "note")[0]
    assert is_well(found)


@pytest.mark.parametrize(
    ("changes", "level", "text"),
    [
        ({}, "ok", "/x/m (the default) is usable"),
        ({"folder": {**FACTS["folder"], "exists": False}}, "ok", "does not exist yet"),
        ({"folder": {**FACTS["folder"], "problem": "a link"}}, "wrong", "a link"),
        ({"key_problem": "3 bytes"}, "wrong", "3 bytes"),
        ({"asked_for": "obj"}, "wrong", "no object named 'obj' is shared here"),
        (
            {"folder": {**FACTS["folder"], "others": {"/tmp/m": ["a", "b", "c", "d"]}}},
            "note",
            "a, b, c and 1 more",
        ),
        ({"failures": ["the key: no"], "folder": None}, "wrong", "not examined: the key: no"),
    ],
)
def test_the_folder_and_the_system(changes: Facts, level: str, text: str) -> None:
    found = check({**FACTS, **changes})
    assert text in "\n".join(texts(found, level))
    assert is_well(found) == (level != "wrong")


def test_a_named_lock_is_listed_and_a_stopped_holder_is_wrong() -> None:
    holder = {"id": "bb", "pid": 11, "since": 5.0, "token": 99, "lease": None}
    locks = {"k": {"places": 1, "holders": [holder], "queue": []}}
    assert is_well(checked(named_locks=locks))
    text = "\n".join(found.text for found in checked(named_locks=locks))
    assert "lock 'k': held by process 11, peer bb, since " in text
    assert "token 99" in text
    stopped = {**PEER, "process": {**CLIENT, "state": "T"}}
    locks["k"]["queue"] = [{"id": "aa", "pid": 10}]
    found = [f for f in checked(named_locks=locks, peers=[HOST_FILE, stopped]) if "lock" in f.text]
    assert [each.level for each in found] == ["wrong"]
    assert found[0].text.endswith("; 1 request waits, of process 10; its holder is stopped")
    assert found[0].advice == "run 'kill -CONT 11', or end the process"
    locks["k"]["queue"] = [{"id": "aa", "pid": 10}] * 2
    found = [f for f in checked(named_locks=locks, peers=[HOST_FILE, stopped]) if "lock" in f.text]
    assert "; 2 requests wait, of processes 10, 10; its" in found[0].text
    locks["k"]["holders"] = [{**holder, "lease": 5.0}]  # it ends by itself
    found = [f for f in checked(named_locks=locks, peers=[HOST_FILE, stopped]) if "lock" in f.text]
    assert [each.level for each in found] == ["ok"]
