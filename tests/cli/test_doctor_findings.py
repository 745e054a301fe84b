"""What the doctor makes of facts: what is wrong, what is only worth a note, and the way out."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from memsync.cli.doctor import findings
from memsync.cli.doctor.facts import (
    Answer,
    Facts,
    Folder,
    Limit,
    Lock,
    PeerFile,
    Process,
    Rendezvous,
    SharedObject,
    Versions,
)
from memsync.cli.doctor.findings import Finding, is_well, judge

VERSIONS = Versions("1.0", 3, "3.11", "Linux")
FOLDER = Folder("/x/memsync-1", None, exists=True)
FACTS = Facts(VERSIONS, FOLDER)

HOST = Process(10, "S", "python host.py", 12, 1024)
WRITER = Process(11, "S", "python writer.py")
LOCK = Lock(7, True, False, protocol=3, peer="aa", process=HOST, address="/x/7-aa.sock", since=1.0)
HOST_FILE = PeerFile("aa", True, process=HOST, roles=("writer",))
PEER = PeerFile("bb", True, process=WRITER, roles=("writer",))
OBJECT = SharedObject(
    "obj",
    "/x/obj.d",
    locks=(LOCK, replace(LOCK, is_witness=True)),
    peers=(HOST_FILE, PEER),
    rendezvous=Rendezvous("aa", "1.0", "3.11"),
    sockets=((7, "/x/7-aa.sock"),),
    answer=Answer(seconds=0.001),
)


def judged(facts: Facts = FACTS, **changes: Any) -> list[Finding]:
    """The findings about an object, which differs in something from one where all is well."""
    return judge(replace(facts, objects=(replace(OBJECT, **changes),)))


def worst(found: list[Finding]) -> list[tuple[str, str]]:
    return [(each.level, each.text) for each in found if each.level != "fine"]


def only(found: list[Finding], level: str) -> Finding:
    (finding,) = [each for each in found if each.level == level]
    return finding


def test_a_healthy_object_gives_nothing_to_look_at() -> None:
    found = judged()
    assert worst(found) == []
    assert is_well(found)
    texts = "\n".join(each.text for each in found)
    assert "host: process 10 (python host.py), peer aa, epoch 7, since 1970-01-0" in texts
    assert "peer bb: process 11 (python writer.py), writer" in texts
    assert "it answered in 1.0 ms" in texts


def lock(**changes: Any) -> dict[str, Any]:
    return {"locks": (replace(LOCK, **changes),)}


FROZEN = replace(HOST, state="T")
FREE = {"held": False, "process": None}

WRONG: dict[str, tuple[dict[str, Any], str, str]] = {
    "a frozen host": (lock(process=FROZEN), "the host is stopped", "kill -CONT 10"),
    "a traced host": (lock(process=replace(HOST, state="t")), "is stopped", "kill -CONT 10"),
    "a silent host": (lock(silent_for=9.0), "no sign of life for 9.0 s", "process 10"),
    "no answer": ({"answer": Answer(error="time is over")}, "time is over", "end process 10"),
    "another protocol": (lock(protocol=2), "protocol 2, this memsync 3", "one version"),
    "a damaged lock": (lock(is_damaged=True, process=None), "damaged", "end the process"),
    "no more files": (
        lock(process=replace(HOST, open_files=1020)),
        "1020 of at most 1024",
        "ulimit -n",
    ),
    "no host": (lock(**FREE), "no host, although 2 peers live", "look once more"),
    "only clients": (
        {**lock(**FREE), "peers": (replace(PEER, client_only=True),)},
        "clientOnly",
        "start a peer that may host",
    ),
    "a frozen peer": (
        {"peers": (HOST_FILE, replace(PEER, process=replace(WRITER, state="T")))},
        "keeps its writer's place",
        "kill -CONT 11",
    ),
    "a peer without a host": (
        {"peers": (HOST_FILE, replace(PEER, obstacle="network.maxWriters is 2"))},
        "it has no host: network.maxWriters is 2",
        "",
    ),
    "what cannot be read": ({"unreadable": ("/x/y is a link: remove it",)}, "is a link", ""),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_has_a_way_out(case: str) -> None:
    changes, text, advice = WRONG[case]
    found = judged(**changes)
    finding = only(found, "wrong")
    assert not is_well(found)
    assert text in finding.text
    assert advice in finding.advice
    assert finding.about == "object obj"


def test_frozen_peers_do_not_come_to_an_election() -> None:
    frozen = replace(PEER, process=replace(WRITER, state="T"))
    found = judged(**lock(**FREE), peers=(frozen,))
    texts = [each.text for each in found if each.level == "wrong"]
    assert "there is no host, and all peers that may host are stopped" in texts
    found = judged(**lock(process=FROZEN), peers=(HOST_FILE, frozen))
    assert "the host is stopped (state T): writes wait" in [each.text for each in found]


LIMITED = (replace(HOST_FILE, max_writers=2), PEER)
NOTED: dict[str, tuple[dict[str, Any], str]] = {
    "all places taken": ({"peers": LIMITED}, "all 2 places for writers are taken, by process 10"),
    "not asked": ({"answer": None}, "was not asked"),
    "a deleted lock": ({"locks": (replace(LOCK, is_witness=True),)}, "its witness is there"),
    "no rendezvous": ({"rendezvous": None}, "rendezvous file is missing"),
    "a wrong rendezvous": ({"rendezvous": Rendezvous("zz")}, "names another host"),
    "another version": ({"rendezvous": Rendezvous("aa", "0.9", "3.12")}, "memsync 0.9"),
    "a damaged peer": (
        {"peers": (HOST_FILE, PeerFile("cc", True, is_damaged=True))},
        "cc lives, but its file is damaged",
    ),
    "a dead peer": ({"peers": (HOST_FILE, PeerFile("cc", False))}, "files of dead peers: cc"),
    "a dead socket": ({"sockets": ((6, "/x/6-cc.sock"),)}, "sockets of dead hosts: /x/6-cc.sock"),
    "an old lock": ({"locks": (LOCK, replace(LOCK, epoch=5, **FREE))}, "earlier epochs: 5"),
    "an old file": ({"temporaries": ("/x/tmp-1",)}, "temporary files: /x/tmp-1"),
}


@pytest.mark.parametrize("case", NOTED)
def test_what_passes_by_itself_is_a_note(case: str) -> None:
    changes, text = NOTED[case]
    found = judged(**changes)
    assert text in only(found, "note").text
    assert is_well(found)


def test_places_are_free_below_the_limit_and_for_who_only_reads() -> None:
    reader = replace(PEER, roles=())
    assert worst(judged(peers=(LIMITED[0], reader))) == []
    dead = replace(PEER, held=False)
    assert "places" not in str(worst(judged(peers=(LIMITED[0], dead))))


def test_a_candidate_is_no_host_yet() -> None:
    found = judged(**lock(is_open=False), rendezvous=None)
    assert "candidate for host: process 10" in "".join(each.text for each in found)
    assert worst(found) == []


def test_an_object_that_nobody_shares_any_more_is_well() -> None:
    found = judged(
        locks=(replace(LOCK, held=False, process=None),),
        peers=(),
        rendezvous=None,
        sockets=((7, "/x/7-aa.sock"),),
        answer=None,
    )
    assert "the last epoch was 7" in "".join(each.text for each in found)
    assert "sockets of dead hosts" in only(found, "note").text


def test_a_deposed_host_that_is_frozen_is_not_stale() -> None:
    old = replace(LOCK, epoch=6, process=FROZEN, peer="old")
    assert "stale" not in str(worst(judged(locks=(LOCK, old))))


FOLDERS: dict[str, tuple[dict[str, Any], str]] = {
    "not usable": ({"problem": "open to other users"}, "open to other users"),
    "a bad key": ({"key_problem": "3 bytes instead of 32"}, "3 bytes"),
    "an unusable temp folder": ({"ignored": "/gone"}, "/gone cannot be written to"),
}


@pytest.mark.parametrize("case", FOLDERS)
def test_what_is_wrong_with_the_folder(case: str) -> None:
    changes, text = FOLDERS[case]
    found = judge(replace(FACTS, folder=replace(FOLDER, **changes)))
    assert text in only(found, "wrong").text


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"chosen_by": "MEMSYNC_DIR"}, "(named by MEMSYNC_DIR) can be used"),
        ({}, "(the default) can be used"),
        ({"exists": False}, "is not there yet"),
    ],
)
def test_which_folder_it_is_and_why(changes: dict[str, Any], text: str) -> None:
    found = judge(replace(FACTS, folder=replace(FOLDER, **changes)))
    assert text in found[0].text
    assert is_well(found)


def test_an_object_that_is_asked_for_and_missing_is_wrong_and_other_folders_are_named() -> None:
    folder = replace(FOLDER, others=(("/tmp/memsync-1", ("a", "b", "c", "d")),))
    found = judge(replace(FACTS, asked_for="obj", folder=folder))
    assert "'obj'" in only(found, "wrong").text
    assert "a, b, c and 1 more" in only(found, "note").text


@pytest.mark.parametrize(
    ("used", "most", "level"),
    [
        (0, 100, "fine"),
        (90, 100, "fine"),
        (91, 100, "wrong"),
        (None, 9, "wrong"),
        (None, 10, "fine"),
    ],
)
def test_limits(used: int | None, most: int, level: str) -> None:
    limit = Limit("watches", used, most, 10, "things are late", "raise it")
    (found,) = [each for each in judge(replace(FACTS, limits=(limit,))) if "watches" in each.text]
    assert (found.level, found.advice) == (level, "raise it" if level == "wrong" else "")


def test_orphans_are_a_note() -> None:
    assert "/dev/shm/x" in only(judge(replace(FACTS, orphans=("/dev/shm/x",))), "note").text


def test_errors_of_the_doctor_s_own_hide_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise LookupError("on purpose")

    monkeypatch.setattr(findings, "_of_places", fail)
    found = judged(replace(FACTS, failures=("the limits: no",)), **lock(process=FROZEN))
    texts = [each.text for each in found if each.level == "wrong"]
    assert len(texts) == 3
    assert "the host is stopped" in texts[0]
    assert "not judged: LookupError: on purpose" in texts[1]
    assert "not looked at: the limits: no" in texts[2]
    assert any("Python 3.11" in each.text for each in found)
