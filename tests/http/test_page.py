"""The page for people, in headless Chromium, and its files."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest

from memsync import MemSync
from memsync.clocks import monotonic
from memsync.testing import Cluster, until

from .browser import PROGRAM, Browser
from .client import fetch, free_port, url_of

pytestmark = pytest.mark.process

ROWS = "[...document.querySelectorAll('.row:not([hidden])')].map(row => row.textContent)"
# A mark lasts for a second: a test that looks for one may come too late.
NOTE_MARKS = """
window.marked = 0;
new MutationObserver(() => { marked += document.querySelectorAll('.row.changed').length; })
    .observe(document.getElementById('rows'), {subtree: true, attributes: true}); 1
"""
STATE = "document.getElementById('state').textContent"
needs_chromium = pytest.mark.skipif(PROGRAM is None, reason="Chromium is not installed")


class TestFiles:
    @pytest.fixture
    def root(self) -> Iterator[str]:
        with MemSync("foo", {}, {"server": {"port": 0, "token": "x"}}, engine="memory") as mem:
            yield url_of(mem).removesuffix("foo")

    def test_a_browser_gets_the_page_without_the_token(self, root: str) -> None:
        page = fetch(root, {"Accept": "text/html,*/*;q=0.8"})
        assert page.status == 200
        assert page.headers["content-type"].startswith("text/html")
        assert fetch(root).status == 401
        assert b"foo" not in page.body

    def test_all_comes_from_this_server(self, root: str) -> None:
        policy = fetch(root, {"Accept": "text/html"}).headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        for name in ("page.css", "page.js", "source.js", "tree.js", "icon.svg"):
            answer = fetch(f"{root}static/{name}")
            assert answer.status == 200
            assert b"//" not in answer.body.replace(b"http://www.w3.org/2000/svg", b"").replace(
                b"// ", b""
            )
            again = fetch(f"{root}static/{name}", {"If-None-Match": answer.tag})
            assert again.status == 304

    @pytest.mark.parametrize("name", ["", "nope.js", "../app.py", "%2e%2e/app.py", "page.js/x"])
    def test_there_are_no_other_files(self, root: str, name: str) -> None:
        headers = {"Authorization": "Bearer x"}
        assert fetch(f"{root}static/{name}", headers).status == 404


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    browser = Browser(tmp_path_factory.mktemp("chromium"))
    yield browser
    browser.close()


@pytest.fixture
def tab(browser: Browser) -> Iterator[Browser]:
    browser.events.clear()
    yield browser
    browser.go("about:blank")
    browser.until("!window.page")


@needs_chromium
class TestInABrowser:
    def test_it_follows_the_object(self, tab: Browser) -> None:
        data = {"n": 0, "job": {"state": "new", "list": [1, 2]}}
        with MemSync("foo", data, {"server": {"port": 0}}) as mem:
            tab.go(url_of(mem).removesuffix("foo"))
            tab.until(f"{ROWS}.length == 2")
            assert tab.js(ROWS) == ["n: 0", "▸job: {2}"]
            tab.js("document.getElementById('tree').focus()")
            tab.key("ArrowDown")
            tab.key("ArrowRight")
            tab.until(f"{ROWS}.length == 4")
            tab.js(NOTE_MARKS)
            mem.patch({"$set": {"job.state": "done"}})
            tab.until(f"{ROWS}.includes('state: \"done\"')")
            tab.until("marked > 0")
            mem.patch({"$push": {"job.list": 3}})
            tab.until(f"{ROWS}.includes('▸list: [3]')")
            tab.until("!document.querySelector('.row.changed')")
            writes = "document.getElementById('writes').textContent"
            assert "/job/list/2" in tab.js(writes)
            with mem.lock("reindex"):
                tab.until("document.getElementById('locks').textContent.includes('reindex')")
            peers = tab.js("document.getElementById('peers').textContent")
            assert peers.startswith("host")
            tab.key("ArrowLeft")
            tab.until(f"{ROWS}.length == 2")
            self._scrubs(tab, mem)
        assert tab.errors() == []

    def _scrubs(self, tab: Browser, mem: MemSync[Any]) -> None:
        for n in range(1, 4):
            mem.patch({"$set": {"n": n}})
        tab.until(f"{ROWS}[0] == 'n: 3'")
        version = "document.getElementById('version')"
        tab.until(f"Number({version}.max) == {mem.version}")
        tab.js(f"{version}.value = {mem.version - 2}, {version}.dispatchEvent(new Event('input'))")
        tab.until(f"{ROWS}[0] == 'n: 1'")
        mem.patch({"$set": {"n": 9}})
        tab.js("document.getElementById('live').click()")
        tab.until(f"{ROWS}[0] == 'n: 9'")

    @pytest.mark.parametrize("width", [1280, 400])
    def test_nothing_is_wider_than_the_window(self, tab: Browser, width: int) -> None:
        with MemSync("foo", {"long": "x" * 999}, {"server": {"port": 0}}, engine="memory") as mem:
            tab.go(url_of(mem).removesuffix("foo"), width=width, dark=True)
            tab.until(f"{ROWS}.length == 1")
            assert tab.js(
                "document.documentElement.scrollWidth <= document.documentElement.clientWidth"
            )
            assert tab.js("getComputedStyle(document.body).backgroundColor") == "rgb(15, 18, 22)"

    def test_it_asks_for_the_token(self, tab: Browser) -> None:
        options = {"server": {"port": 0, "token": "secret"}}
        with MemSync("foo", {"n": 1}, options, engine="memory") as mem:
            tab.go(url_of(mem).removesuffix("foo"))
            tab.until("!document.getElementById('login').hidden")
            nodes = tab.call("Accessibility.getFullAXTree")["nodes"]
            names = {each["role"]["value"]: each.get("name", {}).get("value") for each in nodes}
            assert names["form"] == "Token"  # a landmark, as a form without a name is not
            tab.js("document.getElementById('token').value = 'secret'")
            tab.js("document.querySelector('#login button').click()")
            tab.until(f"{ROWS}[0] == 'n: 1'")

    @pytest.mark.slow
    def test_a_hundred_thousand_keys(self, tab: Browser) -> None:
        data = {f"key{n}": {"value": n} for n in range(100_000)}
        with MemSync("foo", data, {"server": {"port": 0}}, engine="memory") as mem:

            def is_painted_in_a_second() -> bool:  # at least once: the machine may be busy
                tab.go("about:blank")
                tab.until("!window.page")
                tab.go(url_of(mem).removesuffix("foo"))
                tab.until(f"{ROWS}.length > 20", 60)
                painted = "performance.getEntriesByName('first-contentful-paint')[0].startTime"
                return bool(tab.js(painted) < 1000)

            until(is_painted_in_a_second, 60)
            stop = threading.Event()

            def write() -> None:
                n = 0
                while not stop.is_set():
                    n += 1
                    mem.submit({"$set": {f"key{n % 40}.value": n}})
                    stop.wait(0.001)

            thread = threading.Thread(target=write)
            thread.start()
            now = "[page.repaints, performance.now()]"
            before, begin = tab.js(now)
            tab.until(f"page.repaints > {before} && performance.now() > {begin} + 2000")
            repaints, end = tab.js(now)
            stop.set()
            thread.join()
            assert repaints - before <= (end - begin) / 100 + 1
            tab.js("document.getElementById('tree').focus()")
            tab.key("End")
            tab.until(f"{ROWS}.includes('▸key99999: {{1}}')")
            assert tab.js("document.querySelectorAll('*').length") < 2000

    @pytest.mark.slow
    def test_it_connects_again_after_a_kill(self, tab: Browser, cluster: Cluster) -> None:
        options = {"server": {"port": free_port()}}
        peers = [cluster.peer({"n": 0}, options, name="foo") for _ in range(2)]
        tab.go(f"http://127.0.0.1:{options['server']['port']}/")
        tab.until(f"{ROWS}[0] == 'n: 0'")

        def is_quick() -> bool:  # at least once: the machine may be busy
            peers.pop(0).kill()
            begin = monotonic()
            peers[0].patch({"$inc": {"n": 1}})
            tab.until(f"{ROWS}[0] == 'n: {peers[0].snapshot('n')}'")
            seconds = monotonic() - begin
            tab.until(f"{STATE} == 'live'")
            peers.append(cluster.peer(None, options, name="foo"))
            return seconds < 3

        until(is_quick, 60)

    @pytest.mark.parametrize("number", [10_000])
    @pytest.mark.slow
    def test_its_own_event_source_sees_each_change_once_through_kills(
        self, tab: Browser, cluster: Cluster, number: int
    ) -> None:
        options = {"server": {"port": free_port()}}
        for _ in range(3):
            cluster.peer({"n": 0}, options, name="foo")
        tab.go(f"http://127.0.0.1:{options['server']['port']}/")
        tab.until(f"{ROWS}[0] == 'n: 0'")
        tab.js(
            "window.seen = [];"
            "window.stream = new EventSource('/foo/n/changes');"
            "stream.addEventListener('snapshot', e => seen.push(JSON.parse(e.data).value));"
            "stream.addEventListener('patch', e => {"
            "  for (const each of JSON.parse(e.data).patch) seen.push(each.value); }); 1"
        )
        tab.until("seen.length == 1")
        # The writer is no host, or the peers would have none to kill.
        with MemSync[Any]("foo", None, {"clientOnly": True}) as writer:
            for n in range(1, number + 1):
                writer.patch({"$set": {"n": n}})
                if n in (number // 3, 2 * number // 3):
                    cluster.kill_host()
        tab.until(f"seen[seen.length - 1] == {number}", 60)
        assert tab.js("seen") == list(range(number + 1))
        assert tab.js("stream.readyState") == 1
