"""PATCH: three forms, conditions, once over retries and a change of host, refusals."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPException
from typing import Any

import pytest

from memsync import MemSync
from memsync.testing import Cluster, until

from .client import Answer, fetch, free_port, url_of

pytestmark = pytest.mark.process

TOKEN = "secret"
DATA = {"n": 0, "a": {"b": [1, 2], "x": 1, "c.d": {"e": 1}}}
MERGE = "application/merge-patch+json"
JSON_PATCH = "application/json-patch+json"
OPERATORS = "application/vnd.memsync.update+json"
OPTIONS = {"port": 0, "token": TOKEN, "write": True}


@pytest.fixture(params=["memory", pytest.param("local", marks=pytest.mark.slow)])
def mem(request: pytest.FixtureRequest) -> Iterator[MemSync[Any]]:
    with MemSync("foo", DATA, {"server": OPTIONS, "engine": request.param}) as mem:
        yield mem


def send(url: str, form: str, body: Any, **headers: str) -> Answer:
    """A PATCH; underscores in names of headers are dashes."""
    given = {name.replace("_", "-"): value for name, value in headers.items()}
    given = {"Authorization": f"Bearer {TOKEN}", "Content-Type": form, **given}
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return fetch(url, given, method="PATCH", body=data)


def read(url: str) -> Answer:
    return fetch(url, {"Authorization": f"Bearer {TOKEN}"})


class TestForms:
    @pytest.mark.parametrize(
        ("path", "form", "body", "result"),
        [
            ("", OPERATORS, {"$inc": {"n": 5}}, {**DATA, "n": 5}),
            ("/a", OPERATORS, {"$push": {"b": 3}, "$rename": {"x": "y"}}, None),
            ("/a/b", OPERATORS, {"$set": {"0": 7}}, None),
            ("", JSON_PATCH, [{"op": "replace", "path": "/n", "value": 1}], {**DATA, "n": 1}),
            ("/a/b", JSON_PATCH, [{"op": "add", "path": "/-", "value": 3}], None),
            ("/a", JSON_PATCH, [{"op": "move", "from": "/x", "path": "/y"}], None),
            ("/a/c.d/e", JSON_PATCH, [{"op": "replace", "path": "", "value": 2}], None),
            ("/new", JSON_PATCH, [{"op": "add", "path": "", "value": 2}], {**DATA, "new": 2}),
            ("", MERGE, {"n": 3, "a": None}, {"n": 3}),
            ("/a", MERGE, {"b": None, "x": {"y": {"z": None, "w": 1}}}, None),
            ("/a/c.d", MERGE, {"f": [None]}, None),
            ("/n", MERGE, 9, {**DATA, "n": 9}),
            ("/new", MERGE, {"y": 1, "z": None}, {**DATA, "new": {"y": 1}}),
        ],
    )
    def test_each_form_changes_the_part(
        self, mem: MemSync[Any], path: str, form: str, body: Any, result: Any
    ) -> None:
        answer = send(url_of(mem) + path, form, body)
        assert (answer.status, answer.json["outcome"]) == (200, "applied")
        assert answer.json["version"] == mem.version
        assert answer.tag == read(url_of(mem) + path).tag
        if result is not None:
            assert mem.snapshot() == result

    def test_what_they_made_of_the_part(self, mem: MemSync[Any]) -> None:
        url = url_of(mem)
        send(url + "/a", OPERATORS, {"$push": {"b": 3}, "$rename": {"x": "y"}})
        send(url + "/a/c.d/e", JSON_PATCH, [{"op": "replace", "path": "", "value": 2}])
        send(url + "/a", MERGE, {"y": {"z": {"w": None}}, "b": None})
        assert mem.snapshot("a") == {"c.d": {"e": 2}, "y": {"z": {}}}

    def test_merges_of_several_clients_meet(self, mem: MemSync[Any]) -> None:
        with ThreadPoolExecutor(4) as pool:
            answers = pool.map(
                lambda n: send(url_of(mem), MERGE, {"m": {f"f{n}": n}}), range(1, 21)
            )
            assert {answer.status for answer in answers} == {200}
        assert mem.snapshot("m") == {f"f{n}": n for n in range(1, 21)}


class TestRefusals:
    @pytest.mark.parametrize(
        ("path", "form", "body", "status", "code"),
        [
            ("", OPERATORS, {"$frob": {"n": 1}}, 422, "ERR_UPDATE"),
            ("", OPERATORS, {"$inc": {"a": 1}}, 422, "ERR_UPDATE"),
            ("", OPERATORS, {"$set": 1}, 422, "ERR_UPDATE"),
            ("", OPERATORS, {"n": 1}, 422, "ERR_UPDATE"),
            ("", OPERATORS, [1], 400, "ERR_USAGE"),
            ("", OPERATORS, {}, 400, "ERR_USAGE"),
            ("/a/c.d", OPERATORS, {"$inc": {"e": 1}}, 400, "ERR_USAGE"),
            ("", JSON_PATCH, {"op": "add"}, 400, "ERR_USAGE"),
            ("", JSON_PATCH, [7], 422, "ERR_UPDATE"),
            ("", JSON_PATCH, [{"op": "add", "path": 1}], 422, "ERR_UPDATE"),
            ("", JSON_PATCH, [{"op": "remove", "path": "/x"}], 422, "ERR_UPDATE"),
            ("", JSON_PATCH, [{"op": "test", "path": "/n", "value": 1}], 409, "ERR_CONFLICT"),
            ("", MERGE, 7, 422, "ERR_UPDATE"),
            ("/no/thing", MERGE, {"x": 1}, 422, "ERR_UPDATE"),
            ("", MERGE, b"{", 400, "ERR_USAGE"),
            ("", MERGE, b"\xff", 400, "ERR_USAGE"),
            ("", MERGE, b"[" * 5000, 400, "ERR_USAGE"),
            ("", MERGE, b'{"x": 1e999}', 400, "ERR_USAGE"),
            ("", MERGE, b'{"x": 123456789012345678901234567890}', 422, "ERR_NOT_SERIALIZABLE"),
            ("", "text/plain", {}, 415, "ERR_MEDIA_TYPE"),
            ("/changes", MERGE, {}, 405, "ERR_METHOD"),
        ],
    )
    def test_what_is_wrong_is_named_and_nothing_changes(
        self, mem: MemSync[Any], path: str, form: str, body: Any, status: int, code: str
    ) -> None:
        answer = send(url_of(mem) + path, form, body)
        assert (answer.status, answer.json["code"]) == (status, code), answer.json
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.json.get("outcome", "not_applied") == "not_applied"
        assert mem.snapshot() == DATA

    def test_writing_is_off_by_default(self) -> None:
        server = {"port": 0, "token": TOKEN}
        with MemSync("foo", DATA, {"server": server}, engine="memory") as mem:
            answer = send(url_of(mem), MERGE, {"n": 1})
            assert (answer.status, answer.json["code"]) == (403, "ERR_READ_ONLY")
            assert mem.data["n"] == 0

    def test_it_needs_the_token(self, mem: MemSync[Any]) -> None:
        assert send(url_of(mem), MERGE, {"n": 1}, Authorization="Bearer x").status == 401
        assert mem.data["n"] == 0

    def test_a_reader_refuses(self) -> None:
        options = {"server": OPTIONS, "peer": {"roles": []}}
        with MemSync("foo", DATA, options, engine="memory") as mem:
            answer = send(url_of(mem), MERGE, {"n": 1})
            assert (answer.status, answer.json["code"]) == (403, "ERR_READ_ONLY")

    def test_a_body_over_the_limit(self) -> None:
        options = {"server": OPTIONS, "network": {"maxFrame": 2000}}
        with MemSync("foo", DATA, options, engine="memory") as mem:
            answer = send(url_of(mem), MERGE, {"n": "x" * 3000})
            assert (answer.status, answer.json["code"]) == (413, "ERR_TOO_LARGE")


class TestIfMatch:
    @pytest.mark.parametrize("form", [OPERATORS, MERGE, JSON_PATCH])
    def test_it_applies_to_what_the_client_has_seen_only(
        self, mem: MemSync[Any], form: str
    ) -> None:
        url = url_of(mem) + "/a"
        body = {
            OPERATORS: {"$set": {"x": 2}},
            MERGE: {"x": 2},
            JSON_PATCH: [{"op": "replace", "path": "/x", "value": 2}],
        }[form]
        tag = read(url).tag
        mem.patch({"$inc": {"n": 1}})  # another part
        assert send(url, form, body, If_Match=tag).status == 200
        assert mem.snapshot("a.x") == 2
        answer = send(url, form, body, If_Match=tag)
        assert (answer.status, answer.json["code"]) == (412, "ERR_CONDITION")
        assert answer.tag == read(url).tag
        assert send(url, form, body, If_Match=f'"other", {answer.tag}').status == 200

    def test_a_weak_tag_names_nothing(self, mem: MemSync[Any]) -> None:
        url = url_of(mem) + "/n"
        tag = read(url).tag
        answer = send(url, MERGE, 1, If_Match=f"W/{tag}")
        assert (answer.status, answer.json["code"]) == (412, "ERR_CONDITION")
        assert "a weak tag names nothing" in answer.json["detail"]
        assert send(url, MERGE, 1, If_None_Match=f"W/{tag}").status == 412
        assert mem.data["n"] == 0
        assert send(url, MERGE, 1, If_Match=f"W/{tag}, {tag}").status == 200

    def test_a_star_is_for_what_exists(self, mem: MemSync[Any]) -> None:
        assert send(url_of(mem) + "/new", MERGE, 1, If_Match="*").status == 412
        assert send(url_of(mem) + "/n", MERGE, 1, If_Match="*").status == 200

    def test_of_many_that_saw_the_same_one_wins(self, mem: MemSync[Any]) -> None:
        url = url_of(mem) + "/n"
        for number in range(1, 6):
            tag = read(url).tag
            calls = [(url, MERGE, number, tag)] * 4
            with ThreadPoolExecutor(4) as pool:
                statuses = [answer.status for answer in pool.map(_send_if, calls)]
            assert sorted(statuses) == [200, 412, 412, 412]


def _send_if(call: tuple[str, str, Any, str]) -> Answer:
    url, form, body, tag = call
    return send(url, form, body, If_Match=tag)


class TestOnce:
    @pytest.mark.parametrize("form", [OPERATORS, JSON_PATCH])
    def test_a_repeated_request_is_applied_once(self, mem: MemSync[Any], form: str) -> None:
        body: Any = {"$push": {"a.b": 7}}
        if form == JSON_PATCH:
            body = [{"op": "add", "path": "/a/b/-", "value": 7}]
        first = send(url_of(mem), form, body, Idempotency_Key="k1")
        again = send(url_of(mem), form, body, Idempotency_Key='"k1"')
        assert (first.status, first.json["repeated"]) == (200, False)
        assert (again.status, again.json["repeated"]) == (200, True)
        assert first.json["version"] == again.json["version"]
        assert mem.snapshot("a.b") == [1, 2, 7]
        assert send(url_of(mem), form, body, Idempotency_Key="k2").json["repeated"] is False
        assert mem.snapshot("a.b") == [1, 2, 7, 7]
        assert mem.locks() == {}

    def test_at_the_same_time_too(self, mem: MemSync[Any]) -> None:
        with ThreadPoolExecutor(8) as pool:
            answers = pool.map(
                lambda n: send(url_of(mem), OPERATORS, {"$inc": {"n": 1}}, Idempotency_Key=n),
                [f"k{n % 4}" for n in range(24)],
            )
            assert {answer.status for answer in answers} == {200}
        assert mem.snapshot("n") == 4

    def test_one_key_is_for_one_request(self, mem: MemSync[Any]) -> None:
        send(url_of(mem), OPERATORS, {"$inc": {"n": 1}}, Idempotency_Key="k")
        answer = send(url_of(mem), OPERATORS, {"$inc": {"n": 2}}, Idempotency_Key="k")
        assert (answer.status, answer.json["code"]) == (422, "ERR_IDEMPOTENCY_KEY")
        assert mem.snapshot("n") == 1

    def test_what_was_refused_may_be_tried_again(self, mem: MemSync[Any]) -> None:
        body = [{"op": "test", "path": "/n", "value": 1}, {"op": "remove", "path": "/n"}]
        assert send(url_of(mem), JSON_PATCH, body, Idempotency_Key="k").status == 409
        mem.patch({"$set": {"n": 1}})
        assert send(url_of(mem), JSON_PATCH, body, Idempotency_Key="k").status == 200

    @pytest.mark.parametrize("key", ["", "x" * 256])
    def test_a_key_has_bounds(self, mem: MemSync[Any], key: str) -> None:
        assert send(url_of(mem), MERGE, {}, Idempotency_Key=key).status == 400

    def test_once_while_the_serving_host_is_killed(self, cluster: Cluster) -> None:
        server = {**OPTIONS, "port": free_port()}
        for _ in range(3):
            cluster.peer({"n": 0}, {"server": server}, name="foo")
        url = f"http://127.0.0.1:{server['port']}/foo"
        done = threading.Event()

        def insist(key: str) -> None:
            while True:
                try:
                    answer = send(url, OPERATORS, {"$inc": {"n": 1}}, Idempotency_Key=key)
                except (OSError, HTTPException):
                    continue
                if answer.status == 200:
                    return

        def client(number: int) -> int:
            count = 0
            while not done.is_set() or count < 5:
                insist(f"{number}-{count}")
                count += 1
            return count

        with ThreadPoolExecutor(4) as pool:
            futures = [pool.submit(client, number) for number in range(4)]
            for _ in range(2):
                before = read(url).json["n"]
                until(lambda: _value(url) > before + 5)  # noqa: B023  # called in this round
                cluster.kill_host()
                until(lambda: _value(url) >= 0)
            done.set()
            total = sum(future.result(60) for future in futures)
        assert read(url).json["n"] == total


def _value(url: str) -> int:
    try:
        n: int = read(url).json["n"]
        return n
    except (OSError, HTTPException, KeyError):
        return -1
