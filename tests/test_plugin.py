"""The pytest plugin, used as a user would: each test runs pytest in a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import entry_points
from pathlib import Path

import pytest

from memsync.testing import until
from memsync.testing.temporary_folder import remove

pytest_plugins = ["pytester"]
pytestmark = pytest.mark.process

RunsPytest = Callable[..., pytest.RunResult]


@pytest.fixture
def run(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> RunsPytest:
    """Run pytest on a file of tests; warnings are errors, and the plugin is there."""
    for variable in ("PYTEST_ADDOPTS", "PYTEST_PLUGINS", "PYTEST_DISABLE_PLUGIN_AUTOLOAD"):
        monkeypatch.delenv(variable, raising=False)

    def run_pytest(source: str, *arguments: str) -> pytest.RunResult:
        pytester.makepyfile(test_user=source)
        return pytester.runpytest_subprocess("-W", "error", *arguments, timeout=100)

    return run_pytest


# Modules of memsync that importing the plugin may load; none of them imports a dependency.
LIGHT = {
    "memsync",
    "memsync.lazy",
    "memsync.testing",
    "memsync.testing.pytest_plugin",
    "memsync.version",
}


def test_it_is_an_entry_point_that_loads_next_to_nothing() -> None:
    (entry,) = {(each.name, each.value) for each in entry_points(group="pytest11", name="memsync")}
    assert entry == ("memsync", "memsync.testing.pytest_plugin")
    program = (
        "import sys, pytest\n"
        "before = set(sys.modules)\n"
        "import memsync.testing.pytest_plugin\n"
        "print(*set(sys.modules) - before)\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60
    )
    assert set(result.stdout.split()) == LIGHT


def test_a_run_that_does_not_use_the_fixtures_never_imports_what_they_need(run: RunsPytest) -> None:
    result = run(
        f"""
        import sys

        def test_nothing(tmp_path):
            loaded = {{name for name in sys.modules if name.split(".")[0] == "memsync"}}
            assert loaded == {LIGHT}
            assert "msgspec" not in sys.modules
        """
    )
    result.assert_outcomes(passed=1)


def test_the_fixtures_say_what_they_are(run: RunsPytest) -> None:
    result = run("", "--fixtures")
    result.stdout.fnmatch_lines(
        ["*memsync_folder -- *", "*memsync -- *", "*memsync_cluster -- *"], consecutive=False
    )


class TestTheFolder:
    """The fixtures `memsync` and `memsync_folder`."""

    def test_two_tests_do_not_see_each_other(
        self, run: RunsPytest, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("MEMSYNC_NETWORK_MAX_WRITERS", "none of its business")
        result = run(
            """
            import os

            import memsync
            import pytest

            module = memsync

            def test_the_name_means_the_module_in_the_whole_file(memsync):
                assert memsync is module

            def test_usefixtures(memsync_folder):
                with memsync.MemSync("shared") as mem:
                    assert mem._where == str(memsync_folder)

            @pytest.mark.parametrize("number", [1, 2])
            def test_founds(memsync, memsync_folder, number):
                assert [v for v in os.environ if v.startswith("MEMSYNC_")] == ["MEMSYNC_DIR"]
                assert os.environ["MEMSYNC_DIR"] == str(memsync_folder)
                assert len(os.fsencode(memsync_folder)) <= 40
                with memsync.MemSync("shared", {"number": number}) as mem:
                    assert mem.snapshot() == {"number": number}

            def test_outside_all_is_as_before():
                assert os.environ["MEMSYNC_NETWORK_MAX_WRITERS"] == "none of its business"
            """
        )
        result.assert_outcomes(passed=5)

    def test_a_long_temp_folder_is_no_hindrance(
        self, run: RunsPytest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        long = tmp_path / ("long" * 40)
        long.mkdir()
        monkeypatch.setenv("TMPDIR", str(long))
        result = run(
            f"""
            import os, tempfile

            def test_short(memsync_folder, memsync_cluster):
                assert tempfile.gettempdir() == {str(long)!r}
                assert len(os.fsencode(memsync_folder)) <= 40
                # multiprocessing's forkserver keeps its socket in the temp folder, so it cannot.
                memsync_cluster(2, {{"n": 0}}, name="n" * 300, method="spawn").kill_host()
            """
        )
        result.assert_outcomes(passed=1)

    def test_a_handle_that_a_failing_test_has_left_is_stopped(
        self, run: RunsPytest, tmp_path: Path
    ) -> None:
        notes = tmp_path / "notes"
        result = run(
            f"""
            import threading
            from pathlib import Path

            kept = []

            def test_fails(memsync, memsync_folder):
                Path({str(notes)!r}).write_text(str(memsync_folder))
                kept.append(memsync.MemSync("kept", {{}}))
                kept[0].start()
                kept[0].on("gap", print)
                kept[0].submit({{"$set": {{"a": 1}}}}).add_done_callback(lambda future: None)
                memsync.MemSync("dropped", {{}}).start()
                assert False

            def test_nothing_is_left():
                assert not Path(Path({str(notes)!r}).read_text()).exists()
                assert kept[0].get_status()["status"] == "stopped"
                names = [thread.name for thread in threading.enumerate()]
                assert not [name for name in names if name.startswith("memsync")]
            """
        )
        result.assert_outcomes(passed=1, failed=1)

    def test_a_process_that_stays_is_told_of(self, run: RunsPytest, tmp_path: Path) -> None:
        notes = tmp_path / "notes"
        result = run(
            f"""
            import subprocess, sys, pytest
            from pathlib import Path

            program = '''
            from memsync import MemSync
            MemSync("stays", {{}}).start()
            print("started", flush=True)
            input()
            '''.replace("            ", "")

            @pytest.fixture(scope="module")
            def processes():
                made = []
                yield made
                for process in made:
                    process.communicate("")

            def test_leaves_a_process(processes, memsync_folder):
                Path({str(notes)!r}).write_text(str(memsync_folder))
                processes.append(subprocess.Popen(
                    [sys.executable, "-c", program], text=True,
                    stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                ))
                assert processes[0].stdout.readline() == "started\\n"
            """
        )
        result.assert_outcomes(passed=1, errors=1)
        result.stdout.fnmatch_lines(["*processes [[]*[]] still use *: end them, or stop*"])
        remove(Path(notes.read_text()))  # the process may have made it again before it ended


class TestTheCluster:
    """The fixture `memsync_cluster`."""

    def test_kill_pause_resume_and_stop(self, run: RunsPytest) -> None:
        result = run(
            """
            from memsync.testing import until

            def increment(mem, by=1):
                return mem.patch({"$inc": {"n": by}}, timeout=15)

            def test_fail_over(memsync_cluster):
                cluster = memsync_cluster(4, {"n": 0}, {"network": {"lease": 0.6}})
                first = cluster.host()
                assert len(cluster.clients()) == 3
                assert cluster.kill_host() is first
                assert first.exitcode == -9
                assert not first.alive

                second = cluster.host()
                assert second is not first
                cluster.clients()[0].run(increment)

                assert cluster.pause() is second
                assert second not in cluster.active
                assert second in cluster.living
                third = cluster.host()
                assert third not in (first, second)
                third.run(increment, by=10)
                cluster.resume()
                until(lambda: second.status()["status"] == "client")
                assert cluster.settled() == {"n": 11}

                assert cluster.stop() is third
                assert third.alive
                assert third not in cluster.active
                assert cluster.host() is not third
                cluster.host().patch({"$inc": {"n": 100}})
                assert third.start() == "client"
                assert cluster.settled() == {"n": 111}
                assert len(cluster.active) == 3
            """
        )
        result.assert_outcomes(passed=1)

    def test_the_test_itself_may_take_part(self, run: RunsPytest) -> None:
        result = run(
            """
            def test_together(memsync, memsync_cluster):
                cluster = memsync_cluster(2, {"n": 0})
                with memsync.MemSync(cluster.name) as mem:
                    mem.patch({"$inc": {"n": 1}})
                    cluster.kill_host()
                    mem.patch({"$inc": {"n": 1}}, timeout=10)
                    assert cluster.settled() == mem.snapshot() == {"n": 2}

            def test_several(memsync_cluster):
                one = memsync_cluster(1, {"who": 1}, name="one")
                two = memsync_cluster(1, {"who": 2}, name="two", method="spawn")
                assert one.settled() == {"who": 1}
                assert two.settled() == {"who": 2}
            """
        )
        result.assert_outcomes(passed=2)

    def test_nothing_is_left_of_a_test_that_fails(self, run: RunsPytest, tmp_path: Path) -> None:
        notes = tmp_path / "notes.json"
        result = run(
            f"""
            import json
            from pathlib import Path

            from memsync.manager.folder.held_file import Files

            def test_fails(memsync_cluster, memsync_folder):
                cluster = memsync_cluster(3, {{"n": 0}})
                peers = [*cluster.peers, cluster.peer(start=False)]
                places = [memsync_folder, *Files().witness_folder(memsync_folder / "obj.d")]
                assert all(place.is_dir() for place in places)
                facts = [[str(place) for place in places], [peer.pid for peer in peers]]
                Path({str(notes)!r}).write_text(json.dumps(facts))
                cluster.clients()[0].pause()
                cluster.kill_host()
                assert False
            """
        )
        result.assert_outcomes(failed=1)
        places, pids = json.loads(notes.read_text())
        assert [place for place in places if Path(place).exists()] == []
        assert len(pids) == 4
        assert [pid for pid in pids if Path(f"/proc/{pid}").exists()] == []

    def test_errors_of_a_peer_reach_the_test_with_their_place(self, run: RunsPytest) -> None:
        result = run(
            """
            import sys
            import threading

            import pytest

            from memsync import OptionsError, UpdateError, UsageError
            from memsync.testing import PeerDied

            class Odd(Exception):
                def __init__(self, one, two):
                    super().__init__("odd")
                    self.one = one

            def raise_odd(mem):
                raise Odd(1, 2)

            def test_errors(memsync_cluster):
                peer = memsync_cluster(1, {"n": "text"}).peers[0]
                with pytest.raises(UpdateError) as info:
                    peer.patch({"$inc": {"n": 1}})
                assert f"pid={peer.pid}" in info.value.__notes__[0]
                with pytest.raises(Odd, match="odd") as info:
                    peer.run(raise_odd)
                assert "in raise_odd" in info.value.__notes__[0]
                assert info.value.one == 1
                for end in (sys.exit, pytest.fail):
                    with pytest.raises(BaseException, match="on purpose") as info:
                        peer.run(lambda mem: end("on purpose"))
                    assert type(info.value).__name__ in ("SystemExit", "Failed")
                with pytest.raises(TypeError, match="lock.*return something that can be pickled"):
                    peer.run(lambda mem: threading.Lock())
                assert peer.run(lambda mem: mem.name) == "obj"

            def test_bad_input(memsync_cluster):
                with pytest.raises(UsageError, match="not -1"):
                    memsync_cluster(-1)
                with pytest.raises(UsageError, match="unknown start method 'forker': choose"):
                    memsync_cluster(1, method="forker")
                with pytest.raises(OptionsError, match="maxWriters"):
                    memsync_cluster(1, options={"network": {"maxWriter": 1}})
                with pytest.raises(UsageError, match="no peer is active"):
                    memsync_cluster(0).settled()
                with pytest.raises(UsageError, match="object 'obj' already: .*name="):
                    memsync_cluster(1)

            def test_the_dead_and_the_paused(memsync_cluster):
                cluster = memsync_cluster(2)
                dead, paused = cluster.peers
                dead.kill()
                with pytest.raises(PeerDied, match=f"pid={dead.pid}> has ended .exit code -9"):
                    dead.status()
                paused.pause()
                with pytest.raises(AssertionError, match="it is paused, resume"):
                    paused.result(paused.begin(lambda mem: None), timeout=0.1)
                with pytest.raises(AssertionError, match="no peer is active"):
                    cluster.kill_host()
            """
        )
        result.assert_outcomes(passed=3)

    def test_a_temp_folder_too_long_for_multiprocessing_is_told(self, run: RunsPytest) -> None:
        result = run(
            """
            import pytest

            from memsync import UsageError

            def test_it(memsync_cluster, monkeypatch, tmp_path):
                folder = tmp_path / ("long" * 20)
                folder.mkdir()
                with monkeypatch.context() as patch:
                    patch.setattr("tempfile.tempdir", str(folder))
                    with pytest.raises(UsageError, match="longlong.*set TMPDIR.*'spawn'"):
                        memsync_cluster(1)
                    assert memsync_cluster(2, method="spawn", name="spawned").host()
            """
        )
        result.assert_outcomes(passed=1)

    def test_peers_have_the_environment_and_the_folder_of_the_test(self, run: RunsPytest) -> None:
        result = run(
            """
            import os

            def test_it(memsync_cluster, memsync_folder, monkeypatch, tmp_path):
                memsync_cluster(1, name="earlier")  # the server of the processes runs from now on
                monkeypatch.setenv("SOME_SETTING", "of the test")
                monkeypatch.setenv("MEMSYNC_TIMEOUT", "7")
                monkeypatch.chdir(tmp_path)
                peer = memsync_cluster(1).peers[0]
                assert peer.run(lambda mem: os.environ["SOME_SETTING"]) == "of the test"
                assert peer.run(lambda mem: os.environ["MEMSYNC_DIR"]) == str(memsync_folder)
                assert peer.run(lambda mem: mem._options.timeout) == 7
                assert peer.run(lambda mem: os.getcwd()) == str(tmp_path)

            def test_no_more_of_it(memsync_cluster):
                peer = memsync_cluster(1).peers[0]
                assert peer.run(lambda mem: os.environ.get("SOME_SETTING")) is None
            """
        )
        result.assert_outcomes(passed=2)


NAMED_FUNCTIONS = """
    import pytest

    STEP = 2

    class Refused(Exception):
        pass

    def step(mem):
        return mem.patch({"$inc": {"n": STEP}})

    def refuse(mem):
        raise Refused("no")

    @pytest.mark.parametrize("number", range(4))
    def test_named_functions(memsync_cluster, number):
        cluster = memsync_cluster(2, {"n": number})
        for peer in cluster.peers:
            peer.run(step)
            peer.run(lambda mem: step(mem))
        with pytest.raises(Refused, match="no"):
            cluster.peers[1].run(refuse)
        cluster.kill_host().join()
        assert cluster.settled() == {"n": number + 8}
"""


@pytest.mark.parametrize("mode", ["prepend", "importlib"])
def test_functions_of_the_test_module_run_in_each_mode_of_import(
    run: RunsPytest, mode: str
) -> None:
    run(NAMED_FUNCTIONS, f"--import-mode={mode}").assert_outcomes(passed=4)


@pytest.mark.slow
def test_side_by_side_under_xdist(run: RunsPytest) -> None:
    run(NAMED_FUNCTIONS, "-n", "2").assert_outcomes(passed=4)


def test_each_start_method(run: RunsPytest) -> None:
    result = run(
        """
        import pytest

        @pytest.mark.parametrize("method", ["spawn", "forkserver", "fork"])
        def test_it(memsync_cluster, method):
            cluster = memsync_cluster(2, {"n": 0}, method=method)
            cluster.kill_host()
            cluster.host().patch({"$inc": {"n": 1}})
            assert cluster.settled() == {"n": 1}
        """
    )
    result.assert_outcomes(passed=3)


def test_what_a_user_has_preloaded_into_the_forkserver_stays(run: RunsPytest) -> None:
    result = run(
        """
        import multiprocessing, sys

        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(["colorsys"])

        def loaded(queue):
            queue.put("colorsys" in sys.modules)

        def test_it(memsync_cluster):
            memsync_cluster(1)
            queue = context.SimpleQueue()
            process = context.Process(target=loaded, args=(queue,))
            process.start()
            assert queue.get()
            process.join()
        """
    )
    result.assert_outcomes(passed=1)


def test_it_can_be_switched_off_and_loaded_by_name(
    run: RunsPytest, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = "def test_it(memsync): pass"
    run(source, "-p", "no:memsync").assert_outcomes(errors=1)
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    run(source).assert_outcomes(errors=1)
    run(source, "-p", "memsync").assert_outcomes(passed=1)


@pytest.mark.slow
def test_a_run_is_measured_by_coverage_without_a_warning(
    run: RunsPytest, pytester: pytest.Pytester
) -> None:
    pytester.makepyfile(
        product="""
        def deposit(mem, amount):
            return mem.patch({"$inc": {"n": amount}})
        """
    )
    pytester.makepyfile(
        test_user="""
        from product import deposit

        def test_it(memsync_cluster):
            cluster = memsync_cluster(2, {"n": 0})
            cluster.peers[1].run(deposit, 5)
            assert cluster.settled() == {"n": 5}
            for peer in cluster.peers:
                peer.end()
                peer.join()
        """
    )
    pytester.path.joinpath(".coveragerc").write_text(
        "[run]\nsource = product\nparallel = true\nconcurrency = multiprocessing, thread\n"
    )
    tests = pytester.run(
        sys.executable, "-m", "coverage", "run", "-m", "pytest", "-W", "error", timeout=100
    )
    tests.assert_outcomes(passed=1)
    assert "CoverageWarning" not in tests.stderr.str()
    pytester.run(sys.executable, "-m", "coverage", "combine")
    report = pytester.run(sys.executable, "-m", "coverage", "report")
    report.stdout.fnmatch_lines(["product.py *100%"])


def test_a_paused_peer_ends_when_pytest_is_killed(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        import time
        from pathlib import Path

        def test_hangs(memsync_cluster):
            one, other = memsync_cluster(2).peers
            other.pause()
            Path("pids").write_text(f"{one.pid} {other.pid}")
            time.sleep(3600)
        """
    )
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider"]
    run = subprocess.Popen(command, cwd=pytester.path, stdout=subprocess.DEVNULL)
    pids = pytester.path / "pids"
    try:
        until(lambda: pids.exists() and pids.read_text())
        processes = [Path(f"/proc/{pid}") for pid in pids.read_text().split()]
        assert all(process.exists() for process in processes)
    finally:
        run.kill()
        run.wait()
    until(lambda: not any(process.exists() for process in processes))
