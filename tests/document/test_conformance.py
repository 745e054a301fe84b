"""The shared data: verified MongoDB updates, and the public RFC 6902 suite."""

from __future__ import annotations

import json
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jsonpatch
import pytest

from memsync.document import apply_patch, apply_update, compile_update, make_live, replay
from memsync.errors import ConflictError, MemSyncError, UpdateError

from .document_strategies import copied, same, text

DATA = Path(__file__).parents[3] / "shared" / "data"
NOW = datetime(2026, 1, 2, 3, 4, 5, 678000, tzinfo=UTC)

pytestmark = pytest.mark.skipif(not DATA.is_dir(), reason="the shared test data is not there")


def mongo_cases() -> list[dict[str, Any]]:
    path = DATA / "mongo_update_sample.jsonl"
    lines = path.read_text().splitlines() if path.exists() else []
    return [json.loads(line) for line in lines]


def patch_cases() -> list[dict[str, Any]]:
    path = DATA / "rfc6902_tests.json"
    # Disabled cases are those which the authors could not express: two "op" in one object, say.
    tests = json.loads(path.read_text())["tests"] if path.exists() else []
    return [case for case in tests if not case.get("disabled")]


def test_the_sample_is_there_and_covers_every_operator() -> None:
    names = Counter(name for case in mongo_cases() for name in case["update"])
    assert len(mongo_cases()) == 302
    assert len(names) == 15
    assert len(patch_cases()) == 108


@pytest.mark.parametrize("case", mongo_cases(), ids=lambda case: case["id"])
@pytest.mark.parametrize("live", [False, True], ids=["plain", "live"])
def test_an_update_does_what_the_server_does(case: dict[str, Any], live: bool) -> None:
    document = make_live(case["doc"], None) if live else copied(case["doc"])
    arguments: dict[str, Any] = {
        "array_filters": case.get("array_filters"),
        "filter": case.get("query"),
        "now": NOW,
    }
    if "error" in case:
        with pytest.raises(UpdateError) as caught:
            compile_update(document, case["update"], **arguments)
        assert (caught.value.kind, caught.value.server_code) == (
            case["error"],
            case["server_code"],
        )
    else:
        operations = compile_update(document, case["update"], **arguments)
        after = jsonpatch.apply_patch(case["doc"], operations)
        assert same(after, case["expect"], case.get("strict_number_types", False))
        assert text(apply_update(document, case["update"], **arguments)) == text(after)
        replica = make_live(case["doc"], None)
        replay(replica, operations)
        assert text(replica) == text(after)
    assert text(document) == text(case["doc"])


@pytest.mark.parametrize("case", patch_cases(), ids=lambda case: case["id"])
def test_a_patch_does_what_the_public_suite_says(case: dict[str, Any]) -> None:
    document = copied(case["doc"])
    if "error" in case:
        with pytest.raises(MemSyncError) as caught:
            apply_patch(document, case["patch"])
        assert isinstance(caught.value, UpdateError | ConflictError)
    else:
        after = apply_patch(document, case["patch"])
        assert same(after, case.get("expected", after))
    assert text(document) == text(case["doc"])
