"""`Reads`: what a function reads of a document is noted, whichever way it reads."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, NamedTuple

import msgspec
import pytest
from hypothesis import given

from memsync.document import PlaceIndex, Reads, make_live

from .document_strategies import documents

DATA = {"jobs": [{"n": 1}, {"n": 5}, {"n": 7}], "users": {"ann": {"age": 4}, "bob": {}}, "n": 3}

Function = Callable[[Any], Any]


def places_of(function: Function, data: Any = DATA) -> dict[str, list[str]]:
    reads = Reads(make_live(data, None))
    function(reads.root)
    found: dict[str, list[str]] = {}
    for pointer, what in reads.places():
        found.setdefault(pointer, []).append(what)
    return found


@pytest.mark.parametrize(
    ("function", "places"),
    [
        (lambda d: d["n"], {"/n": ["itself"]}),
        (lambda d: d.n, {"/n": ["itself"]}),
        (lambda d: d.get("none"), {"/none": ["itself"]}),
        (lambda d: "none" in d, {"/none": ["itself"]}),
        (lambda d: getattr(d, "none", 0), {"/none": ["itself"]}),
        (lambda d: len(d), {"": ["members"]}),
        (lambda d: list(d), {"": ["members"]}),
        (lambda d: len(d["jobs"]), {"/jobs": ["itself", "members"]}),
        (lambda d: d["jobs"][0]["n"], {"/jobs": ["itself"], "/jobs/0": ["itself"],
                                       "/jobs/0/n": ["itself"]}),
        (lambda d: d["users"]["ann"].get("age"), {"/users": ["itself"], "/users/ann": ["itself"],
                                                 "/users/ann/age": ["itself"]}),
        (lambda d: [u for u in d["users"]], {"/users": ["itself", "members"]}),
        (lambda d: d["jobs"], {"/jobs": ["itself", "whole"]}),
        (lambda d: json.dumps(d["jobs"]), {"/jobs": ["itself", "whole"]}),
        (lambda d: msgspec.json.encode(d["jobs"]), {"/jobs": ["itself", "whole"]}),
        (lambda d: sum(job["n"] for job in d["jobs"]), {"/jobs": ["itself", "whole"]}),
        (lambda d: d["jobs"][1:], {"/jobs": ["itself", "whole"]}),
        (lambda d: d["jobs"] == [], {"/jobs": ["itself", "whole"]}),
        (lambda d: {"n": 1} in d["jobs"], {"/jobs": ["itself", "whole"]}),
        (lambda d: d["users"].items(), {"/users": ["itself", "whole"]}),
        (lambda d: d["users"].values(), {"/users": ["itself", "whole"]}),
        (lambda d: repr(d["users"]), {"/users": ["itself", "whole"]}),
        (lambda d: d["users"] | {}, {"/users": ["itself", "whole"]}),
        (lambda d: d["users"].copy(), {"/users": ["itself", "whole"]}),
        (lambda d: None, {"": ["whole"]}),
    ],
)  # fmt: skip
def test_what_is_noted(function: Function, places: dict[str, list[str]]) -> None:
    found = places_of(function)
    assert {place: sorted(what) for place, what in found.items()} == places


def test_the_last_element_depends_on_their_number() -> None:
    assert places_of(lambda d: d["jobs"][-1]["n"])["/jobs"] == ["itself", "members"]
    with pytest.raises(IndexError):
        places_of(lambda d: d["jobs"][3])
    with pytest.raises(IndexError):
        places_of(lambda d: d["jobs"][-4])


@pytest.mark.parametrize("index", ["x", 1.0, None])
def test_an_element_has_a_number(index: Any) -> None:
    with pytest.raises(TypeError):
        places_of(lambda d: d["jobs"][index])


def test_a_key_that_is_missing_is_noted_before_the_error() -> None:
    reads = Reads(make_live(DATA, None))
    with pytest.raises(KeyError):
        reads.root["users"]["eve"]
    assert ("/users/eve", "itself") in reads.places()


def test_the_object_cannot_be_changed() -> None:
    root = Reads(make_live(DATA, None)).root
    for change in (
        lambda: root.update(n=1),
        lambda: root["jobs"].append(1),
        lambda: root["users"].pop("ann"),
        lambda: setattr(root, "n", 1),
    ):
        with pytest.raises(TypeError, match="read-only"):
            change()


class Pair(NamedTuple):
    first: Any
    second: Any


def test_a_result_is_detached_and_plain() -> None:
    view = make_live(DATA, None)
    reads = Reads(view)
    result = reads.plain(
        Pair([reads.root["jobs"]], {"users": reads.root["users"], "set": {1}, "live": view["jobs"]})
    ).value
    assert result == Pair(
        [DATA["jobs"]], {"users": DATA["users"], "set": {1}, "live": DATA["jobs"]}
    )
    assert type(result) is Pair
    for container in (result[0][0], result[1]["users"], result[1]["live"]):
        assert type(container) in (dict, list)
        assert container is not view["jobs"]


@given(documents)
def test_what_a_function_sees_is_the_document(document: Any) -> None:
    def walk(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: walk(value[key]) for key in value}
        if isinstance(value, list):
            return [walk(value[index]) for index in range(len(value))]
        return value

    reads = Reads(make_live(document, None))
    assert json.dumps(walk(reads.root)) == json.dumps(document)
    index: PlaceIndex[int] = PlaceIndex()
    for pointer, what in reads.places():
        index.add(pointer, 1, what)
    for name in document:
        assert index.touched(
            {}, [{"op": "remove", "path": f"/{name.replace('~', '~0').replace('/', '~1')}"}]
        )
