"""The text of a document that is encoded in slices is that of one moment, whatever changes."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable
from copy import deepcopy
from typing import Any

import pytest

from memsync.document import ReadOnlyDict, SlicedText, apply_patch, make_live, replay
from memsync.document.patch.rfc6902 import compile_patch


def text_of(sliced: SlicedText, document: dict[str, Any]) -> str:
    text = bytearray()
    while (piece := sliced.slice(document)) is not None:
        text += piece
    return text.decode()


def random_value(rng: random.Random, depth: int = 0) -> Any:
    kind = rng.random()
    if depth < 4 and kind < 0.35:
        return {f"k{i}": random_value(rng, depth + 1) for i in range(rng.randrange(5))}
    if depth < 4 and kind < 0.7:
        return [random_value(rng, depth + 1) for _ in range(rng.randrange(6))]
    return rng.choice([None, True, 7, 1.5, "text" * rng.randrange(8), 'quote " ä'])


def places(value: Any, path: str = "") -> list[tuple[str, Any]]:
    """The containers in a value, with their pointers."""
    found = [(path, value)]
    for key, item in value.items() if isinstance(value, dict) else enumerate(value):
        if isinstance(item, dict | list):
            found += places(item, f"{path}/{key}")
    return found


def random_operation(rng: random.Random, document: dict[str, Any]) -> dict[str, Any]:
    path, container = rng.choice(places(document))
    if rng.random() < 0.02:
        return {"op": "replace", "path": "", "value": {"new": random_value(rng)}}
    if isinstance(container, dict):
        key = rng.choice([*container, f"k{rng.randrange(7)}"])
        exists = key in container
    else:
        index = rng.randrange(len(container) + 1)
        key, exists = str(index), index < len(container)
        if not exists and rng.random() < 0.5:
            key = "-"
    kind = rng.choice(["add", "replace", "remove"]) if exists else "add"
    operation = {"op": kind, "path": f"{path}/{key}"}
    if kind != "remove":
        operation["value"] = random_value(rng, 2)
    return operation


@pytest.mark.parametrize("first", range(0, 200, 100))
def test_it_is_the_document_of_the_beginning(first: int) -> None:
    for seed in range(first, first + 100):
        rng = random.Random(seed)
        document: dict[str, Any] = {f"r{i}": random_value(rng) for i in range(rng.randrange(1, 6))}
        if rng.random() < 0.5:
            document = make_live(document, None)
        was = json.dumps(deepcopy(document))
        sliced = SlicedText(document, size=rng.choice([1, 8, 30, 100, 400]))
        text = bytearray()
        while True:
            for _ in range(rng.randrange(3)):
                operations = []
                copy = json.loads(json.dumps(document))
                for _ in range(rng.choice([1, 1, 2, 4])):
                    operations.append(random_operation(rng, copy))
                    copy = apply_patch(copy, operations[-1:])
                sliced.before(document, operations)
                replay(document, operations, fit=False)
                if rng.random() < 0.2:  # an equal one takes its place
                    document = deepcopy(json.loads(json.dumps(document)))
            piece = sliced.slice(document)
            if piece is None:
                break
            text += piece
        assert json.dumps(json.loads(text)) == was, f"seed {seed}"


def test_a_slice_is_small_whatever_the_document_is_like() -> None:
    document: dict[str, Any] = {
        "flat": {f"k{i}": i for i in range(5_000)},
        "records": [{"id": i, "text": "x" * 100, "tags": ["a", "b"]} for i in range(2_000)],
        "deep": {"a": {"b": {"c": ["y" * 50] * 3_000}}},
    }
    sliced = SlicedText(document, size=4_000)
    sizes = []
    while (piece := sliced.slice(document)) is not None:
        sizes.append(len(piece))
    assert max(sizes) < 20_000
    assert len(sizes) > 50


def test_a_write_saves_no_more_than_the_place_that_it_changes() -> None:
    document = {"records": [{"id": i, "text": "x" * 100} for i in range(2_000)]}
    was = json.dumps(document)
    sliced = SlicedText(document, size=1_000)
    operation = {"op": "replace", "path": "/records/1000/id", "value": -1}
    sliced.before(document, [operation])
    replay(document, [operation])
    part = sliced._root.parts["records"]
    assert list(part.done) == [1000]
    assert json.dumps(json.loads(text_of(sliced, document))) == was


def test_what_was_encoded_as_a_whole_is_not_divided_again() -> None:
    document: dict[str, Any] = {"a": {f"k{i}": i for i in range(500)}, "b": ["x" * 40] * 500}
    was = json.dumps(document)
    sliced, text = SlicedText(document, size=1_000), bytearray()
    while b'"b"' not in text:
        text += sliced.slice(document) or b""
    for operation in (
        {"op": "replace", "path": "/a/k3", "value": -1},
        {"op": "add", "path": "/a/new", "value": {}},
        {"op": "remove", "path": "/a"},
    ):
        sliced.before(document, [operation])
        replay(document, [operation])
    assert sliced._root.parts == {}
    assert json.dumps(json.loads(text.decode() + text_of(sliced, document))) == was


@pytest.mark.parametrize("kind", ["flat", "numbers"])
def test_no_step_takes_long(kind: str) -> None:
    """Of an object with many small values; compared with a copy of it, as machines differ."""
    number = 200_000
    flat = {f"key{i}": str(i) for i in range(number)}
    document = make_live(
        flat if kind == "flat" else {"numbers": [i / 7 for i in range(number)]}, None
    )
    long = min(seconds(lambda: dict(dict.items(flat))) for _ in range(3))
    begin = time.thread_time()
    sliced = SlicedText(document)
    steps = [time.thread_time() - begin]
    last = {"op": "remove", "path": f"/{kind}" if kind == "numbers" else "/key199999"}
    steps.append(seconds(lambda: sliced.before(document, [last])))
    replay(document, [last])
    pieces = 1
    while pieces:
        begin = time.thread_time()
        pieces = len(sliced.slice(document) or b"")
        steps.append(time.thread_time() - begin)
    assert max(steps) < long, f"{sorted(steps)[-3:]} of {long}"


def seconds(function: Callable[[], object]) -> float:
    begin = time.thread_time()
    function()
    return time.thread_time() - begin


def test_the_empty_document() -> None:
    sliced = SlicedText({})
    assert text_of(sliced, {}) == "{}"
    assert isinstance(make_live({}, None), ReadOnlyDict)
    assert compile_patch({}, []) == []
