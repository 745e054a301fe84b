"""G13: programs that know only multiprocessing join in; strangers get nothing, disturb nobody."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from multiprocessing import AuthenticationError, managers
from multiprocessing.connection import Client
from pathlib import Path
from typing import Any

import pytest

from memsync import ConditionError, MemSync, UpdateError, UsageError
from memsync.manager import MemSyncManager
from memsync.testing import NAME, Cluster, until

from ..process_helpers import LASTING, PlainManager, read_line, write_line

pytestmark = pytest.mark.process


def plain_document(mem: MemSync[Any], key: bytes | None = None) -> Any:
    """The document proxy, reached with nothing but address and key."""
    address, authkey = MemSyncManager.locate(NAME)
    return PlainManager.document_at(address, key or authkey)


def test_a_plain_manager_client_reads_and_writes(cluster: Cluster) -> None:
    host, client = cluster.start(2, {"n": 1, "o": {"a": [10, 20]}})
    outsider = cluster.peer(start=False)

    def talk(mem: MemSync[Any]) -> list[Any]:
        document = plain_document(mem)
        found = [document.get(), document.get("o.a.1"), document.get("no.such"), document.version()]
        version = document.patch({"$inc": {"n": 1}})
        return [*found, version - found[3], document.snapshot()]

    assert outsider.run(talk) == [
        {"n": 1, "o": {"a": [10, 20]}},
        20,
        None,
        host.version - 1,
        1,
        {"n": 2, "o": {"a": [10, 20]}},
    ]
    assert cluster.settled([host, client])["n"] == 2


def test_a_plain_manager_client_gets_errors_and_may_go_on(cluster: Cluster) -> None:
    cluster.peer({"s": "text"})

    def talk(mem: MemSync[Any]) -> tuple[Any, Any]:
        document = plain_document(mem)
        with pytest.raises(UpdateError, match="'s'"):
            document.patch({"$inc": {"s": 1}})
        with pytest.raises(ConditionError) as caught:
            document.patch({"$set": {"s": 1}}, {"s": "other"})
        document.patch({"$set": {"s": "new"}}, {"s": "text"})
        return caught.value.value, document.get("s")

    assert cluster.peer(start=False).run(talk) == ({"s": "text"}, "new")


def test_the_package_s_own_manager_class_connects_as_well_and_starts_nothing(
    cluster: Cluster,
) -> None:
    cluster.peer({"n": 1})

    def talk(mem: MemSync[Any]) -> Any:
        manager: Any = MemSyncManager(*MemSyncManager.locate(NAME))
        manager.connect()
        with pytest.raises(UsageError, match="MemSync"):
            manager.start()
        with pytest.raises(UsageError, match="MemSync"):
            manager.get_server()
        return manager.document().snapshot()

    assert cluster.peer(start=False).run(talk) == {"n": 1}


def test_without_the_key_a_plain_manager_client_gets_nothing(cluster: Cluster) -> None:
    host = cluster.peer({"n": 1})

    def talk(mem: MemSync[Any]) -> None:
        with pytest.raises(AuthenticationError):
            plain_document(mem, key=b"guess" * 6)

    cluster.peer(start=False).run(talk)
    assert host.patch({"$inc": {"n": 1}})


def test_proxies_can_be_switched_off_and_peers_still_join(cluster: Cluster) -> None:
    cluster.peer({"n": 1}, {"manager": {"proxies": False}})

    def talk(mem: MemSync[Any]) -> None:
        with pytest.raises((EOFError, ConnectionResetError)):
            plain_document(mem)

    cluster.peer(start=False).run(talk)
    assert cluster.peer().patch({"$inc": {"n": 1}})


@pytest.mark.parametrize("optimize", [False, True], ids=["plain", "-O"])
def test_only_public_methods_can_be_called_also_under_optimization(
    cluster: Cluster, optimize: bool
) -> None:
    program = cluster.script(HOST, optimize=optimize)
    assert read_line(program) == "host\n"
    address, key = MemSyncManager.locate(NAME)
    dispatch: Any = vars(managers)["dispatch"]  # typeshed does not know it
    for method in ("shutdown", "stop", "number_of_objects", "debug_info", "__repr__", "_serve"):
        with (
            Client(address, authkey=key) as connection,
            pytest.raises((EOFError, ConnectionResetError)),
        ):
            dispatch(connection, None, method, ())
    with MemSync[Any](NAME) as mem:
        mem.patch({"$inc": {"n": 1}})
        assert mem.snapshot() == {"n": 1}
        assert mem.get_status()["host"]["pid"] == program.pid


HOST = """
    import sys
    from memsync import MemSync

    with MemSync("obj", {"n": 0}) as mem:
        print(mem.get_status()["status"], flush=True)
        if expected := sys.stdin.read():  # an acknowledged write may still be on its way to a third
            mem.wait_for({"n": int(expected)}, timeout=30)
        print(mem.snapshot(), flush=True)
"""


def end(program: subprocess.Popen[str], expected: str = "") -> str:
    """Close the program's input; what it prints then, when it has seen the expected number."""
    output, errors = program.communicate(expected, timeout=60)
    assert program.returncode == 0, errors
    return output


def test_all_of_it_works_under_optimization(cluster: Cluster) -> None:
    """``python -O`` removes assertions: nothing may rest on one."""
    programs = [cluster.script(HOST, optimize=True)]
    assert read_line(programs[0]) == "host\n"
    programs.append(cluster.script(HOST, optimize=True))
    assert read_line(programs[1]) == "client\n"
    peer = cluster.peer()
    for _ in range(20):
        peer.patch({"$inc": {"n": 1}})
    programs[0].kill()
    programs[0].wait()
    for _ in range(20):
        peer.patch({"$inc": {"n": 1}})
    assert end(programs[1], "40") == "{'n': 40}\n"


@contextlib.contextmanager
def stranger(address: str) -> Iterator[socket.socket]:
    """A bare connection to the host's socket."""
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(10)
        sock.connect(address)
        yield sock


GARBAGE = {
    "nothing": b"",
    "text": b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
    "a huge length": b"\x7f\xff\xff\xff" + b"x" * 100,
    "a longer length": b"\xff\xff\xff\xff\x7f\xff\xff\xff\xff\xff\xff\xff",
    "a negative length": b"\x80\0\0\0",
    "half a message": b"\0\0\0\x20half",
    "a wrong answer": b"\0\0\0\x10" + b"x" * 16,
    "zeros": b"\0" * 10_000,
    "random bytes": os.urandom(50_000),
}


@pytest.mark.parametrize("garbage", GARBAGE)
def test_garbage_on_the_socket_is_cut_off_and_disturbs_nobody(
    cluster: Cluster, garbage: str
) -> None:
    short = {"network": {"handshakeTimeout": 0.5, **LASTING["network"]}}
    host, client = cluster.start(2, {"n": 0}, short)
    address = host.status()["host"]["address"]
    with stranger(address) as sock:
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            sock.sendall(GARBAGE[garbage])
        client.run(lambda mem: mem.patch({"$inc": {"n": 1}}, timeout=15))
        # The host's own challenge may be read; then the connection ends, within its time-out.
        begin = time.monotonic()
        with contextlib.suppress(ConnectionResetError):
            while sock.recv(4096):
                pass
        assert time.monotonic() - begin < 5  # which is the default
    newcomer = cluster.peer()
    newcomer.patch({"$inc": {"n": 1}})
    assert cluster.settled() == {"n": 2}
    assert cluster.host() is host


def test_many_silent_strangers_hold_up_neither_writers_nor_newcomers(cluster: Cluster) -> None:
    short = {"network": {"handshakeTimeout": 0.3, "maxHandshakes": 4, **LASTING["network"]}}
    host, client = cluster.start(2, {"n": 0}, short)
    address = host.status()["host"]["address"]
    with contextlib.ExitStack() as strangers:
        for _ in range(20):
            strangers.enter_context(stranger(address))
        for _ in range(20):
            client.run(lambda mem: mem.patch({"$inc": {"n": 1}}, timeout=15))
        newcomer = cluster.peer(options={"timeout": 18})
        assert newcomer.snapshot("n") == 20
    threads = host.run(lambda mem: len(__import__("threading").enumerate()))
    until(lambda: host.run(lambda mem: len(__import__("threading").enumerate())) <= threads)
    assert cluster.host() is host


def test_who_sends_a_byte_now_and_then_is_cut_off_all_the_same(cluster: Cluster) -> None:
    short = {"network": {"handshakeTimeout": 0.4, "maxHandshakes": 2, "poll": 0.2}}
    host = cluster.peer({"n": 0}, short)
    address = host.status()["host"]["address"]
    with stranger(address) as one, stranger(address) as other:
        for sock in (one, other):
            sock.settimeout(0.1)  # the rhythm of the bytes: below the time-out of the socket
            sock.sendall(b"\0\0\1\0")  # 256 bytes are to come

        def has_ended(sock: socket.socket) -> bool:
            try:
                sock.sendall(b"x")
                while sock.recv(4096):
                    pass
            except TimeoutError:
                return False
            except (BrokenPipeError, ConnectionResetError):
                return True
            return True

        until(lambda: has_ended(one) and has_ended(other))
        assert cluster.peer(options={"timeout": 18}).patch({"$inc": {"n": 1}})


def test_a_crowd_of_strangers_gets_less_time_than_it_might_have(cluster: Cluster) -> None:
    patient = {"network": {"handshakeTimeout": 3600, "maxHandshakes": 4}}
    host = cluster.peer({"n": 0}, patient)
    address = host.status()["host"]["address"]
    with contextlib.ExitStack() as strangers:
        for _ in range(12):
            strangers.enter_context(stranger(address))
        assert cluster.peer(options={"timeout": 15}).patch({"$inc": {"n": 1}})


CROWD = """
    import select, socket, sys, time
    from pathlib import Path

    strangers, is_told = set(), False
    while not select.select([sys.stdin], [], [], 0.001)[0]:
        for address in Path(sys.argv[1]).glob("*.sock"):
            while len(strangers) < 300:
                sock = socket.socket(socket.AF_UNIX)
                sock.setblocking(False)
                try:
                    sock.connect(str(address))
                except OSError:
                    sock.close()
                    break
                strangers.add(sock)
        if len(strangers) >= 64 and not is_told:
            is_told = True
            print("all places are taken", flush=True)
        for sock in list(strangers):
            try:
                is_cut = not sock.recv(1000)
            except BlockingIOError:
                continue
            except OSError:
                is_cut = True
            if is_cut:
                sock.close()
                strangers.remove(sock)
"""


def test_a_crowd_that_comes_again_and_again_keeps_nobody_from_the_next_host(
    cluster: Cluster, folder: Path
) -> None:
    cluster.start(4, {"n": 0})
    crowd = cluster.script(CROWD, str(folder / f"{NAME}.d"))
    assert read_line(crowd) == "all places are taken\n"
    for end in (cluster.stop, cluster.kill_host):
        end()
        for peer in cluster.active:
            peer.run(lambda mem: mem.patch({"$inc": {"n": 1}}, timeout=15))
    assert cluster.settled() == {"n": 5}


def test_a_program_with_many_threads_gets_a_proxy_in_each_of_them(cluster: Cluster) -> None:
    cluster.peer({"n": 1}, {"network": {"maxHandshakes": 4}})

    def talk(mem: MemSync[Any]) -> int:
        from concurrent.futures import ThreadPoolExecutor

        document = plain_document(mem)
        with ThreadPoolExecutor(100) as pool:
            return sum(pool.map(lambda _: document.get("n"), range(100)))

    assert cluster.peer(start=False).run(talk) == 100


def test_a_lonely_stranger_has_all_the_time_it_may_have(cluster: Cluster) -> None:
    patient = {"network": {"handshakeTimeout": 3600, "maxHandshakes": 4}}
    host = cluster.peer({"n": 0}, patient)
    with stranger(host.status()["host"]["address"]) as sock:
        challenge = sock.recv(4096)
        sock.settimeout(1.5)
        with pytest.raises(TimeoutError):
            sock.recv(4096)
    assert b"CHALLENGE" in challenge


OPENINGS = {
    "nothing": b"",
    "half a handshake": b"\0\0\0\x20half",
    "a large length": b"\x7f\xff\xff\xff" + b"x" * 1000,
}


@pytest.mark.parametrize("optimize", [False, True], ids=["plain", "-O"])
@pytest.mark.parametrize("opening", OPENINGS)
def test_strangers_by_the_hundred_cost_a_bounded_number_of_threads(
    cluster: Cluster, opening: str, optimize: bool
) -> None:
    program = cluster.script(COUNTING_HOST, optimize=optimize)
    assert read_line(program) == "host\n"

    def threads() -> int:
        write_line(program, "count")
        return int(read_line(program))

    with MemSync[Any](NAME) as mem, contextlib.ExitStack() as strangers:
        before, address = threads(), mem.get_status()["host"]["address"]
        for _ in range(150):
            sock = strangers.enter_context(socket.socket(socket.AF_UNIX))
            sock.setblocking(False)
            with contextlib.suppress(BlockingIOError):  # the kernel's queue is full
                sock.connect(address)
            with contextlib.suppress(OSError):
                sock.sendall(OPENINGS[opening])
            mem.patch({"$inc": {"n": 1}}, timeout=15)
            until(lambda: threads() <= before + 16)  # one may have given its place back
        assert cluster.peer(options={"timeout": 15}).snapshot("n") == 150
        assert mem.get_status()["host"]["pid"] == program.pid
    until(lambda: threads() <= before)


COUNTING_HOST = """
    import sys, threading
    from memsync import MemSync

    with MemSync("obj", {"n": 0}, {"network": {"maxHandshakes": 16, "lease": 60}}) as mem:
        print(mem.get_status()["status"], flush=True)
        for line in sys.stdin:
            print(threading.active_count(), flush=True)
"""


def test_a_host_that_gets_no_more_threads_serves_on_and_takes_newcomers_later(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    start = threading.Thread.start
    refused: list[threading.Thread] = []

    def scarce(thread: threading.Thread) -> None:
        if thread.name == "memsync-handshake" and len(refused) < 3:
            refused.append(thread)
            raise RuntimeError("can't start new thread")
        start(thread)

    with MemSync[Any](NAME, {"n": 0}) as mem:
        monkeypatch.setattr(threading.Thread, "start", scarce)
        client = cluster.peer(options={"timeout": 18})
        client.patch({"$inc": {"n": 1}})
        assert mem.snapshot() == {"n": 1}
    assert len(refused) == 3
    assert "can't start new thread" in caplog.text


def test_the_socket_the_key_and_the_files_are_closed_to_others(
    cluster: Cluster, folder: Path
) -> None:
    cluster.start(2)
    assert folder.stat().st_mode & 0o077 == 0
    assert (folder / "authkey").stat().st_mode & 0o777 == 0o600
    for path in (folder / f"{NAME}.d").iterdir():
        assert path.lstat().st_uid == os.getuid()
        if path.name.endswith((".lock", ".json")) and path.name != "rendezvous.json":
            assert path.stat().st_mode & 0o077 == 0, path.name


def test_the_key_is_in_no_file_but_its_own(cluster: Cluster, folder: Path) -> None:
    cluster.start(2)
    key = (folder / "authkey").read_bytes()
    for path in (folder / f"{NAME}.d").iterdir():
        if path.is_file():
            assert key not in path.read_bytes()
            assert key.hex().encode() not in path.read_bytes()


def test_hosting_leaves_standard_output_and_multiprocessing_as_they_were() -> None:
    import sys
    from multiprocessing import current_process

    before = sys.stdout, sys.stderr, dict(vars(current_process()))
    with MemSync[Any](NAME) as mem:
        assert (sys.stdout, sys.stderr, dict(vars(current_process()))) == before
        assert mem.get_status()["status"] == "host"
    assert (sys.stdout, sys.stderr, dict(vars(current_process()))) == before
