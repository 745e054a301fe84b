"""What the system refuses comes as a `MemSyncError` that names the place and the way out."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from memsync import MemSync, RendezvousError
from memsync.cli import main
from memsync.manager.folder.own_folder import advice_on_own

pytestmark = pytest.mark.process

needs_root = pytest.mark.skipif(
    os.getuid() != 0, reason="gives up root, or changes its root folder"
)

# Nobody else may read the libraries, so the programs import everything before they give up root.
WARM = """
import os, resource, sys, tempfile, warnings
from memsync import MemSync, MemSyncError
from memsync.cli import main
from memsync.cli.doctor import checks, collect, report
from memsync.manager import MemSyncManager
with MemSync("warm", {"n": 0}) as mem, MemSync("warm") as client:
    mem.on("connected", print)
    client.patch({"$inc": {"n": 1}})
with MemSync("warm", engine="memory"):
    main(["doctor"])
sys.stdout.flush()
os.dup2(2, 1)
place = sys.argv[1]
def told(call):
    try:
        print("no error", call())
    except MemSyncError as error:
        print(type(error).__name__, error)
"""
# An empty root folder, in which only one folder can be written, if any, and no user is known.
CLOSED = """
os.chroot(place)
os.chdir("/own" if "own" in sys.argv else "/")
tempfile.tempdir = None
for name in ("MEMSYNC_DIR", "TMPDIR", "TEMP", "TMP", "HOME"):
    os.environ.pop(name, None)
os.setgroups([]), os.setgid(65534), os.setuid(65534)
"""
ASK = """
told(lambda: MemSync("x"))
told(lambda: MemSyncManager.locate("x"))
print("doctor", main(["doctor"]))
with MemSync("x", {"n": 1}, engine="memory") as mem:
    print("memory", mem.snapshot())
"""


@pytest.fixture
def place() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        path = Path(folder)
        path.chmod(0o755)
        (path / "own").mkdir(mode=0o700)
        os.chown(path / "own", 65534, 65534)
        yield path


def run(program: str, *arguments: object, **environ: str | bytes) -> str:
    """What a program tells after it is warm; no traceback is in it."""
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program), *map(str, arguments)],
        env={**os.environ, **environ},
        capture_output=True,
        timeout=100,
        check=False,
    )
    told = done.stderr.decode()
    assert done.returncode == 0, told
    assert "Traceback" not in told
    return told


def check_refusals(told: str, *words: str) -> None:
    """A handle, a manager and the doctor refuse with these words; the engine memory works."""
    lines = told.splitlines()
    assert [line.partition(" ")[0] for line in lines[:2]] == ["RendezvousError"] * 2
    for line in (*lines[:2], next(line for line in lines if "not examined" in line)):
        assert [word for word in (*words, "MEMSYNC_DIR") if word not in line] == []
    assert lines[-2:] == ["doctor 1", "memory {'n': 1}"]


@needs_root
@pytest.mark.parametrize("current", ["closed", "own"])
def test_no_temp_folder_is_one_error(place: Path, current: str) -> None:
    """Nor is the current folder one, which Python takes at last: others start elsewhere."""
    told = run(WARM + CLOSED + ASK, place, current)
    check_refusals(told, "no temp folder", "/tmp, /usr/tmp, /var/tmp")


@needs_root
def test_a_temp_folder_that_is_named_and_cannot_be_written_is_one_error(place: Path) -> None:
    program = WARM + CLOSED + 'os.environ["TMPDIR"] = "/gone"\n' + ASK
    check_refusals(run(program, place), "no temp folder", "/gone")


@needs_root
def test_the_demo_says_what_it_lacks(place: Path) -> None:
    warm = WARM + "import memsync.cli.demo.run, memsync.cli.commands.demo\n"
    told = run(warm + CLOSED + 'print("demo", main(["demo"]))\n', place)
    assert "memsync: the demo failed: no temporary folder can be made" in told
    assert "set TMPDIR to a folder that this process can write to" in told
    assert told.endswith("demo 1\n")


@needs_root
@pytest.mark.parametrize("stated", ["~/here", "~", "~nobody-of-that-name/x"])
def test_a_home_that_is_not_known_is_one_error(place: Path, stated: str) -> None:
    program = WARM + CLOSED + f'os.environ["MEMSYNC_DIR"] = "{stated}"\n' + ASK
    check_refusals(run(program, place), "home folder", repr(stated), "/tmp/memsync-x")


def test_a_current_folder_that_is_gone_is_one_error(place: Path) -> None:
    program = """
    os.mkdir(place + "/gone")
    os.chdir(place + "/gone")
    os.rmdir(place + "/gone")
    os.environ["MEMSYNC_DIR"] = "below/it"
    warnings.simplefilter("ignore")
    """
    check_refusals(run(WARM + textwrap.dedent(program) + ASK, place), "'below/it'", "deleted")


@pytest.mark.parametrize("variable", ["MEMSYNC_DIR", "TMPDIR"])
def test_a_name_that_is_not_utf_8_is_one_error(place: Path, variable: str) -> None:
    os.mkdir(os.fsencode(place) + b"/\xff")
    stated = repr(os.fsencode(place) + b"/\xff")
    change = f"""
    os.environ.pop("MEMSYNC_DIR")
    os.environb[b"{variable}"] = {stated}
    tempfile.tempdir = None
    """
    told = run(WARM + textwrap.dedent(change) + ASK, place)
    check_refusals(told, stated[:-1], "UTF-8")
    assert os.listdir(os.fsencode(place) + b"/\xff") == []


def test_the_doctor_prints_names_that_are_no_text(folder: Path) -> None:
    os.mkdir(os.fsencode(folder) + b"/\xff.d", mode=0o755)
    done = subprocess.run(
        [sys.executable, "-c", "from memsync.cli import main; print(main(['doctor']))"],
        env={**os.environ, "PYTHONIOENCODING": "ascii"},
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert done.stderr == b""
    assert b"\\udcff.d is open to other users" in done.stdout


@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&- >&- 2>&-"])
@pytest.mark.parametrize("arguments", ["doctor", "doctor --json", "doctor a/b"])
def test_the_doctor_needs_no_output(closed: str, arguments: str) -> None:
    program = f"import sys; from memsync.cli import main; sys.exit(main({arguments.split()}))"
    command = f'exec {sys.executable} -c "{program}" {closed}'
    done = subprocess.run(["sh", "-c", command], capture_output=True, timeout=60, check=False)
    assert done.returncode == (2 if "a/b" in arguments else 0), done.stderr
    assert b"Traceback" not in done.stderr


NO_THREADS = """
place = place + "/own"
os.environ["MEMSYNC_DIR"] = place
user = 100_000 + os.getpid()  # no other process is of this user, of another run neither
os.chown(place, user, user)
os.setgroups([]), os.setgid(user), os.setuid(user)
def own_descriptors():  # watchdog keeps an inotify and a pipe after a failed start
    links = [os.path.join("/proc/self/fd", name) for name in os.listdir("/proc/self/fd")]
    found = [os.readlink(link) for link in links if os.path.lexists(link)]
    return sorted(each for each in found if each.startswith(("socket:", "anon_inode:[ev", place)))
begin = own_descriptors()
for limit in range(1, 9):
    mem = MemSync("x", {"n": 0})
    called = []
    mem.on("connected", called.append)
    resource.setrlimit(resource.RLIMIT_NPROC, (limit, 1000))
    try:
        print("role", mem.start(), mem.patch({"$inc": {"n": 1}}) > 0)
    except MemSyncError as error:
        print("error", type(error).__name__, mem.get_status()["status"], error)
    resource.setrlimit(resource.RLIMIT_NPROC, (1000, 1000))
    print("then", mem.start(), mem.patch({"$inc": {"n": 1}}) > 0)
    mem.stop()
    assert called == ["host"], called
    (left,) = os.listdir(place + "/x.d")
    assert left.endswith(".lock"), left
    assert own_descriptors() == begin
"""


@needs_root
@pytest.mark.skipif(sys.platform != "linux", reason="counts descriptors in /proc")
def test_without_threads_a_start_fails_whole_or_works(place: Path) -> None:
    lines = [line.split(" ", 1) for line in run(WARM + NO_THREADS, place).splitlines()]
    results = [text for kind, text in lines if kind in ("role", "error")]
    assert len(results) == 8
    for text in results:
        assert text == "host True" or (
            text.startswith("RendezvousError stopped the thread memsync-")
            and "can't start new thread" in text
            and "ulimit -u is" in text
        )
    assert {text.partition(" ")[0] for text in results} == {"RendezvousError", "host"}
    assert [text for kind, text in lines if kind == "then"] == ["host True"] * 8


# -- folders that are not memsync's own ------------------------------------------------------------

SYSTEM = ["/", "/etc", "/tmp", "/tmp/", "/tmp/../etc", "/var/tmp", "/dev/shm", "/usr", "~"]


def marks(path: Path) -> set[str]:
    """What a peer would have made there."""
    return {each.name for each in path.iterdir() if each.name in ("authkey", "x.d")}


@pytest.mark.parametrize("stated", [*SYSTEM, "link to /tmp", "link to /etc"])
def test_a_folder_of_the_system_is_refused_and_left_alone(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    folder: Path,
    stated: str,
) -> None:
    if stated.startswith("link"):
        link = folder / "link"
        link.symlink_to(stated.rpartition(" ")[2])
        stated = str(link)
    monkeypatch.setenv("MEMSYNC_DIR", stated)
    path = Path(stated).expanduser().resolve()
    before = path.stat().st_mode, marks(path)
    with pytest.raises(RendezvousError, match="choose a folder of its own, for example") as caught:
        MemSync[Any]("x").start()
    assert "chmod" not in str(caught.value)
    assert main(["doctor"]) == 1
    output = capsys.readouterr().out
    assert "choose a folder of its own, for example" in output
    assert "chmod" not in output
    assert "\nobject " not in output  # what ends with ".d" in /etc is none
    assert (path.stat().st_mode, marks(path)) == before


@pytest.mark.parametrize("place", ["/usr/local/lib", "/etc/ssl", "/lib/systemd", "/usr/share/doc"])
def test_the_example_never_lies_in_a_folder_of_the_system(place: str) -> None:
    assert "example /tmp/memsync-x," in advice_on_own(Path(place))


def test_the_example_can_be_followed(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    mine = folder / "mine"
    mine.mkdir(mode=0o755)
    mine.chmod(0o755)
    monkeypatch.setenv("MEMSYNC_DIR", str(mine))
    with pytest.raises(RendezvousError) as caught:
        MemSync[Any]("x").start()
    assert f"example {mine}/memsync-x, and set MEMSYNC_DIR to it" in str(caught.value)
    monkeypatch.setenv("MEMSYNC_DIR", f"{mine}/memsync-x")
    with MemSync[Any]("x") as mem:
        assert mem.snapshot() == {}
        mine.joinpath("memsync-x").chmod(0o755)
        with pytest.raises(RendezvousError, match=f"chmod 700 {mine}/memsync-x"):
            MemSync[Any]("x").start()  # this one memsync has made
        mine.joinpath("memsync-x").chmod(0o700)


@pytest.mark.parametrize("stated", ["here", "./here", "../w/here"])
def test_a_relative_folder_is_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], folder: Path, stated: str
) -> None:
    (folder / "w").mkdir()
    monkeypatch.chdir(folder / "w")
    monkeypatch.setenv("MEMSYNC_DIR", stated)
    with pytest.warns(UserWarning, match=f"relative path '{stated}'") as caught:
        mem = MemSync("x")
    assert caught[0].filename == __file__
    assert str(folder / "w") in str(caught[0].message)
    with mem:
        assert main(["doctor"]) == 0
    assert f"MEMSYNC_DIR is the relative path '{stated}'" in capsys.readouterr().out
