"""RFC 7396: a merge that another client comes before is made on what that one wrote."""

from __future__ import annotations

from typing import Any

import pytest

from memsync import ConflictError, MemSync
from memsync.document import apply_patch
from memsync.http import writes
from memsync.http.updates import merge_patch

from .client import fetch, url_of


@pytest.mark.parametrize("before", [{}, {"m": None}, {"m": "x"}, {"m": [1]}])
def test_a_merge_notices_an_object_that_came(before: dict[str, Any]) -> None:
    for merge in (
        merge_patch({"m": {"mine": 1}}, (), before),
        merge_patch({"mine": 1}, ("m",), before),
    ):
        assert apply_patch(before, merge) == {"m": {"mine": 1}}
        with pytest.raises(ConflictError):
            apply_patch({"m": {"theirs": 2}}, merge)


def test_a_merge_notices_an_object_that_went() -> None:
    merge = merge_patch({"m": {"mine": None}}, (), {"m": {"mine": 1}})
    with pytest.raises(ConflictError):
        apply_patch({"m": [1]}, merge)


def test_a_value_that_is_no_object_overwrites() -> None:
    merge = merge_patch({"m": 1}, (), {})
    assert apply_patch({"m": {"theirs": 2}}, merge) == {"m": 1}


@pytest.mark.process
@pytest.mark.parametrize("headers", [{}, {"Idempotency-Key": "k"}])
def test_fields_of_two_clients_that_create_an_object_are_all_kept(
    monkeypatch: pytest.MonkeyPatch, headers: dict[str, str]
) -> None:
    options = {"server": {"port": 0, "token": "x", "write": True}}
    with MemSync[Any]("foo", {}, options, engine="memory") as mem:
        compiled = writes._Update.now
        calls = []

        def now(update: Any) -> Any:
            operations = compiled(update)
            calls.append(operations)
            if len(calls) == 1:
                mem.submit({"$set": {"m": {"theirs": 2}}})  # ordered first
            return operations

        monkeypatch.setattr(writes._Update, "now", now)
        answer = fetch(
            url_of(mem),
            {
                "Authorization": "Bearer x",
                "Content-Type": "application/merge-patch+json",
                **headers,
            },
            method="PATCH",
            body=b'{"m": {"mine": 1}}',
        )
        assert (answer.status, len(calls)) == (200, 2), answer.body
        assert mem.snapshot() == {"m": {"theirs": 2, "mine": 1}}
