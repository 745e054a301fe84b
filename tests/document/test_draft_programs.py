"""Drafts under random programs: they do what plain values do, and their guards hold."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memsync.document import Draft, apply_patch, compile_patch, make_live, replay
from memsync.document.live import draft_part
from memsync.errors import ConflictError

from .document_strategies import copied, text
from .draft_programs import Program, change, documents, foreign_changes, programs

# How many items are copied when a container is handed out: none, a few, all.
FILLED = st.sampled_from([0, 1, 2, 1_000])


@pytest.fixture(autouse=True)
def _keep_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(draft_part, "FILLED_MAX", draft_part.FILLED_MAX)


def draft_of(base: Any, filled: int) -> Draft:
    draft_part.FILLED_MAX = filled
    return Draft(base)


@settings(deadline=None, max_examples=400)
@given(documents, programs, FILLED)
def test_a_draft_does_what_a_plain_value_does(document: Any, steps: Any, filled: int) -> None:
    draft = draft_of(make_live(document, None), filled)
    mine, theirs = Program(draft.root), Program(copied(document))
    for step in steps:
        assert mine.outcome(step) == theirs.outcome(step), step
    patch = draft.patch()
    assert text(apply_patch(document, patch)) == text(theirs.root)
    assert [text(copy.deepcopy(kept)) for kept in mine.kept] == list(map(text, theirs.kept))
    assert text(copy.deepcopy(draft.root)) == text(theirs.root)


@settings(deadline=None, max_examples=400)
@given(documents, programs, foreign_changes, FILLED)
def test_a_patch_that_still_fits_does_what_the_program_would_do_now(
    document: Any, steps: Any, foreign: Any, filled: int
) -> None:
    """Whatever the program has read: if its guards hold, it would have read the same."""
    draft = draft_of(make_live(document, None), filled)
    mine = Program(draft.root)
    mine.run(steps)
    patch = draft.patch()
    changed = change(document, foreign)
    if not patch or fits(changed, patch):
        now = Program(copied(changed))
        now.run(steps)
        if patch:
            assert mine.seen == now.seen
            assert apply_patch(changed, patch) == now.root


def fits(document: Any, patch: Any) -> bool:
    try:
        compile_patch(document, patch)
    except ConflictError:
        return False
    return True


@settings(deadline=None, max_examples=400)
@given(documents, st.lists(st.tuples(programs, foreign_changes), max_size=3), FILLED)
def test_changes_of_others_meanwhile_are_conflicts_or_do_no_harm(
    document: Any, rounds: Any, filled: int
) -> None:
    live = make_live(document, None)
    draft = draft_of(live, filled)
    mine = Program(draft.root)
    steps: list[Any] = []
    for some, foreign in rounds:
        mine.run(some)
        steps += some
        target = change(live.copy(), foreign)
        for name in [*live.copy()]:
            if name not in target:
                replay(live, [{"op": "remove", "path": f"/{escaped(name)}"}])
        for name, value in target.items():
            if name not in live or live.copy()[name] != value:
                replay(live, [{"op": "add", "path": f"/{escaped(name)}", "value": value}])
    patch = draft.patch()
    final = live.copy()
    if patch and fits(final, patch):
        now = Program(copied(final))
        now.run(steps)
        assert mine.seen == now.seen
        assert apply_patch(final, patch) == now.root


def escaped(name: str) -> str:
    return name.replace("~", "~0").replace("/", "~1")
