"""PATCH bodies and headers that name another place, or mean something else than they say."""

from __future__ import annotations

from collections.abc import Iterator
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
