"""PATCH bodies and headers that name another place, or mean something else than they say."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from memsync import MemSync

from .client import url_of
from .test_writing import JSON_PATCH, MERGE, OPERATORS, OPTIONS, read, send

pytestmark = pytest.mark.process

DATA = {"a": {"b": 1}, "ab": 2}


@pytest.fixture
def mem() -> Iterator[MemSync[Any]]:
    with MemSync("foo", DATA, {"server": OPTIONS, "engine": "memory"}) as mem:
        yield mem


@pytest.mark.parametrize("path", ["b", "b/c", "~1b", " /b"])
@pytest.mark.parametrize("key", ["path", "from"])
def test_a_pointer_without_a_slash_names_nothing(mem: MemSync[Any], path: str, key: str) -> None:
    operation = {"op": "copy", "from": "/b", "path": "/c", key: path}
    answer = send(url_of(mem) + "/a", JSON_PATCH, [operation])
    assert (answer.status, answer.json["code"]) == (422, "ERR_UPDATE")
    assert key in answer.json["detail"]
    assert repr(path) in answer.json["detail"]
    assert mem.snapshot() == DATA


@pytest.mark.parametrize("path", ["", "/a"])
@pytest.mark.parametrize("value", [5, None, True, ["c"], {"c": 1}])
def test_a_new_name_that_is_no_text_is_refused(mem: MemSync[Any], path: str, value: Any) -> None:
    answer = send(url_of(mem) + path, OPERATORS, {"$rename": {"a" if not path else "b": value}})
    assert (answer.status, answer.json["code"]) == (422, "ERR_UPDATE")
    assert mem.snapshot() == DATA


@pytest.mark.parametrize("query", ["at=1", "wait=1", "path=/b&at=1"])
def test_a_change_has_no_parameters_of_reads(mem: MemSync[Any], query: str) -> None:
    answer = send(f"{url_of(mem)}/a?{query}", MERGE, {"b": 2})
    assert (answer.status, answer.json["code"]) == (400, "ERR_USAGE")
    assert mem.snapshot() == DATA


class TestIfNoneMatch:
    @pytest.mark.parametrize("path", ["", "/a", "/ab"])
    @pytest.mark.parametrize("key", [{}, {"Idempotency_Key": "k"}])
    @pytest.mark.parametrize("form", ["*", "{}", '"other", {}'])
    def test_a_part_that_it_names_stays(
        self, mem: MemSync[Any], path: str, key: dict[str, str], form: str
    ) -> None:
        url = url_of(mem) + path
        condition = form.format(read(url).tag)
        answer = send(url, MERGE, {"x": 1}, If_None_Match=condition, **key)
        assert (answer.status, answer.json["code"]) == (412, "ERR_CONDITION")
        assert "If-None-Match" in answer.json["detail"]
        assert mem.snapshot() == DATA

    @pytest.mark.parametrize("key", [{}, {"Idempotency_Key": "k"}])
    def test_one_of_two_creates_a_part(self, mem: MemSync[Any], key: dict[str, str]) -> None:
        url = url_of(mem) + "/new"
        for form, body in ((MERGE, 1), (JSON_PATCH, [{"op": "add", "path": "", "value": 2}])):
            answer = send(url, form, body, If_None_Match="*", **key)
            assert answer.status == (200 if body == 1 else 422 if key else 412)
        assert mem.snapshot() == {**DATA, "new": 1}

    def test_another_tag_does_not_hinder(self, mem: MemSync[Any]) -> None:
        answer = send(url_of(mem) + "/a", OPERATORS, {"$inc": {"b": 1}}, If_None_Match='"other"')
        assert answer.status == 200
        assert mem.snapshot() == {**DATA, "a": {"b": 2}}

    @pytest.mark.parametrize("form", [MERGE, JSON_PATCH])
    def test_one_of_many_creates_a_part(self, mem: MemSync[Any], form: str) -> None:
        url = url_of(mem) + "/new"

        def create(number: int) -> int:
            body: Any = number if form == MERGE else [{"op": "add", "path": "", "value": number}]
            return send(url, form, body, If_None_Match="*").status

        with ThreadPoolExecutor(4) as pool:
            statuses = sorted(pool.map(create, range(8)))
        assert statuses == [200] + [412] * 7
