"""GET of objects and parts: values, tags, conditions, long polls, errors."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection
from typing import Any

import pytest

from memsync import MemSync
from memsync.clocks import monotonic
from memsync.testing import until

from .client import Answer, address_of, fetch, is_serving, url_of
from .event_source import open_raw

pytestmark = pytest.mark.process

DATA = {"num": 0, "a": {"b": [1, {"c/d": "é"}], "x.y": None}, "status": "new", "changes": [1]}


@pytest.fixture(params=["memory", pytest.param("local", marks=pytest.mark.slow)])
def mem(request: pytest.FixtureRequest) -> Iterator[MemSync[Any]]:
    options = {"server": {"port": 0}, "engine": request.param}
    with MemSync("foo-bar", DATA, options) as mem:
        yield mem


@pytest.fixture
def url(mem: MemSync[Any]) -> str:
    return url_of(mem)


class TestValues:
    def test_the_whole_object_before_and_after_a_patch(self, mem: MemSync[Any], url: str) -> None:
        before = fetch(url)
        assert (before.status, before.json) == (200, DATA)
        assert before.headers["content-type"] == "application/json"
        mem.patch({"$inc": {"num": 1}})
        assert fetch(url).json == {**DATA, "num": 1}

    @pytest.mark.parametrize(
        ("path", "value"),
        [
            ("/num", 0),
            ("/a/b/0", 1),
            ("/a/b/1/c%2Fd", "é"),
            ("/a/x.y", None),
            ("/a/", DATA["a"]),
            ("/changes/0", 1),
            ("?path=/status", "new"),
            ("?path=/changes", [1]),
            ("/a?path=/b/1/c~1d", "é"),
        ],
    )
    def test_a_part(self, url: str, path: str, value: object) -> None:
        assert fetch(url + path).json == value

    @pytest.mark.parametrize("path", ["/nope", "/a/b/2", "/a/b/01", "/a/b/-", "/a/b/x", "/num/0"])
    def test_no_value_is_404(self, url: str, path: str) -> None:
        answer = fetch(url + path)
        assert (answer.status, answer.json["code"]) == (404, "ERR_NO_VALUE")
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.json["status"] == 404

    def test_another_name_is_404_and_says_what_there_is(self, url: str) -> None:
        answer = fetch(url.replace("foo-bar", "foo"))
        assert (answer.status, answer.json["code"]) == (404, "ERR_NO_OBJECT")
        assert "foo-bar" in answer.json["detail"]

    def test_head_has_the_headers_only(self, url: str) -> None:
        answer = fetch(url, method="HEAD")
        assert (answer.status, answer.body) == (200, b"")
        assert answer.tag == fetch(url).tag

    @pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS"])
    def test_other_methods_are_405(self, url: str, method: str) -> None:
        answer = fetch(url, method=method)
        assert (answer.status, answer.json["code"]) == (405, "ERR_METHOD")
        assert "GET" in answer.headers["allow"]

    def test_the_index_names_the_objects(self, url: str) -> None:
        assert fetch(url.replace("foo-bar", "")).json == {"objects": ["foo-bar"]}

    def test_the_status_is_that_of_the_handle(self, mem: MemSync[Any], url: str) -> None:
        status = fetch(url + "/status").json
        assert status["id"] == mem.id
        assert status["server"] == {"url": url, "serving": True}

    def test_the_version_is_in_a_header(self, mem: MemSync[Any], url: str) -> None:
        version = mem.patch({"$set": {"num": 5}})
        assert fetch(url).headers["memsync-version"] == f"{mem.epoch}-{version}"


class TestTags:
    def test_the_tag_changes_when_the_part_does_only(self, mem: MemSync[Any], url: str) -> None:
        whole, part = fetch(url).tag, fetch(url + "/a").tag
        mem.patch({"$set": {"num": 1}})
        assert fetch(url).tag != whole
        assert fetch(url + "/a").tag == part
        mem.patch({"$set": {"num": 0}})
        assert fetch(url).tag == whole

    @pytest.mark.parametrize("form", ["{}", "W/{}", '"other", {}', '"a,b" , W/{}', "*"])
    def test_what_the_client_has_is_304(self, url: str, form: str) -> None:
        tag = fetch(url).tag
        answer = fetch(url, {"If-None-Match": form.format(tag)})
        assert (answer.status, answer.body, answer.tag) == (304, b"", tag)

    @pytest.mark.parametrize("form", ['"other"', "", 'W/"x", "y"'])
    def test_what_it_has_not_is_sent(self, url: str, form: str) -> None:
        assert fetch(url, {"If-None-Match": form}).status == 200

    @pytest.mark.parametrize("form", ["abc", '"abc', 'w/"a"', '"a" "b"'])
    def test_what_is_no_tag_is_400(self, url: str, form: str) -> None:
        assert fetch(url, {"If-None-Match": form}).status == 400


class TestLongPolls:
    def test_the_answer_comes_with_the_change(self, mem: MemSync[Any], url: str) -> None:
        tag = fetch(url + "/num").tag
        with ThreadPoolExecutor(1) as pool:

            def poll() -> tuple[Answer, float]:
                answer = fetch(url + "/num?wait=20", {"If-None-Match": tag})
                return answer, monotonic()

            late = [1.0]
            for number in range(1, 50):
                future = pool.submit(poll)
                until(lambda: waits(mem))
                mem.patch({"$set": {"status": str(number)}})  # not what it waits for
                begin = monotonic()
                mem.patch({"$set": {"num": number}})
                answer, end = future.result(10)
                assert (answer.status, answer.json) == (200, number)
                tag = answer.tag
                late.append(end - begin)
                if late[-1] < 0.05:
                    break
        assert min(late) < 0.05

    def test_without_a_change_it_is_304_at_the_end(self, url: str) -> None:
        tag = fetch(url).tag
        begin = monotonic()
        answer = fetch(url + "?wait=0.2", {"If-None-Match": tag})
        assert (answer.status, answer.tag) == (304, tag)
        assert 0.2 <= monotonic() - begin < 5

    def test_without_a_tag_it_waits_for_the_next_change(self, mem: MemSync[Any], url: str) -> None:
        with ThreadPoolExecutor(1) as pool:
            future = pool.submit(fetch, url + "/num?wait=20")
            until(lambda: waits(mem))
            mem.patch({"$set": {"num": 7}})
            assert future.result(10).json == 7
        assert fetch(url + "/num?wait=0.01").status == 304

    def test_a_part_that_is_not_there_yet_is_waited_for(self, mem: MemSync[Any], url: str) -> None:
        with ThreadPoolExecutor(1) as pool:
            future = pool.submit(fetch, url + "/new/deep?wait=20")
            until(lambda: waits(mem))
            mem.patch({"$set": {"new.deep": 1}})
            assert future.result(10).json == 1
        assert fetch(url + "/never?wait=0.01").status == 404

    def test_what_changed_before_is_answered_at_once(self, mem: MemSync[Any], url: str) -> None:
        tag = fetch(url).tag
        mem.patch({"$set": {"num": 1}})
        assert fetch(url + "?wait=60", {"If-None-Match": tag}).status == 200

    def test_prefer_waits_too(self, mem: MemSync[Any], url: str) -> None:
        headers = {"If-None-Match": fetch(url).tag, "Prefer": "respond-async, wait=20"}
        with ThreadPoolExecutor(1) as pool:
            future = pool.submit(fetch, url, headers)
            until(lambda: waits(mem))
            mem.patch({"$set": {"num": 7}})
            answer = future.result(10)
        assert (answer.status, answer.headers["preference-applied"]) == (200, "wait=20")

    @pytest.mark.parametrize("wait", ["x", "-1", "301", "nan", "inf", "", "1_0", "%D9%A1"])
    def test_a_wait_that_is_no_number_of_seconds_is_400(self, url: str, wait: str) -> None:
        answer = fetch(f"{url}?wait={wait}")
        assert (answer.status, answer.json["code"]) == (400, "ERR_USAGE")
        assert "0 to 300" in answer.json["detail"]

    def test_a_client_that_goes_leaves_nothing(self, mem: MemSync[Any], url: str) -> None:
        with open_raw(url + "?wait=200"):
            until(lambda: waits(mem))
        until(lambda: not waits(mem))

    @pytest.mark.usefixtures("patient_end")
    def test_a_stop_ends_it(self, mem: MemSync[Any], url: str) -> None:
        with ThreadPoolExecutor(1) as pool:
            future = pool.submit(fetch, url + "?wait=200", timeout=60)
            until(lambda: waits(mem))
            mem.stop()
            assert not is_serving()
            assert future.result(60).status in (304, 503)


class TestOlderVersions:
    def test_each_version_that_the_log_has(self, mem: MemSync[Any], url: str) -> None:
        versions = [mem.patch({"$inc": {"num": 1}}) for _ in range(3)]
        assert [fetch(f"{url}/num?at={v}").json for v in versions] == [1, 2, 3]
        old = fetch(f"{url}?at={versions[0]}")
        assert old.json == {**DATA, "num": 1}
        assert old.headers["memsync-version"] == f"{mem.epoch}-{versions[0]}"
        tag = {"If-None-Match": old.tag}
        assert fetch(f"{url}?at={versions[0]}", tag).status == 304
        assert fetch(f"{url}/nope?at={versions[0]}").status == 404

    def test_what_it_has_not_is_410_with_what_it_has(self, mem: MemSync[Any], url: str) -> None:
        answer = fetch(f"{url}?at={mem.version + 1}")
        assert (answer.status, answer.json["code"]) == (410, "ERR_NO_VERSION")
        assert answer.json["newest"] == mem.version

    @pytest.mark.parametrize("query", ["at=x", "at=-1", "at=", "at=1.5", "at=1&wait=1"])
    def test_what_is_no_version_is_400(self, url: str, query: str) -> None:
        assert fetch(f"{url}?{query}").status == 400


def waits(mem: MemSync[Any]) -> bool:
    """Whether a request waits for a change."""
    return bool(mem._participating().view_waiters._waiters)


def test_odd_values_are_sent_as_json(folder: object) -> None:
    data = {"": "empty", "a b": 2**63 - 1, "f": 1.5, "t": "\u2028<script>\x00\U0001f600", "n": None}
    with MemSync("odd", data, {"server": {"port": 0}, "engine": "memory"}) as mem:
        assert json.loads(fetch(url_of(mem)).body) == data
        assert fetch(url_of(mem) + "?path=/").json == "empty"
        assert fetch(url_of(mem) + "/a%20b").json == 2**63 - 1


def test_the_predecessors_chapter() -> None:
    with MemSync("foo-bar", {"num": 0}, {"server": {"port": 0}}) as mem:
        assert fetch(url_of(mem)).body == b'{"num":0}'
        mem.patch({"$set": {"num": 1}})
        assert fetch(url_of(mem)).body == b'{"num":1}'


def test_an_answer_does_not_wait_for_the_acknowledgement_of_its_head(mem: MemSync[Any]) -> None:
    """Without TCP_NODELAY each answer on a kept connection takes 40 ms."""
    connection = HTTPConnection(*address_of(url_of(mem)))
    times: list[float] = []
    while len(times) < 100 and min(times[1:], default=1.0) >= 0.03:
        begin = monotonic()
        connection.request("GET", "/foo-bar/num")
        assert connection.getresponse().read() == b"0"
        times.append(monotonic() - begin)
    connection.close()
    assert min(times[1:]) < 0.03
