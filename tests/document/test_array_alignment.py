"""Where elements came from: as a plain list would tell that is changed along."""

from __future__ import annotations

from hypothesis import example, given
from hypothesis import strategies as st

from memsync.document.live.array_alignment import NEW, Alignment, common_blocks

# Each step is an insertion or a removal, at so much of the length there is then.
_steps = st.lists(st.tuples(st.booleans(), st.integers(0, 100)), max_size=12)


def changed(size: int, steps: list[tuple[bool, int]]) -> tuple[Alignment, list[int]]:
    """An array after the steps, as alignment and as a list of them."""
    alignment, model = Alignment(size), list(range(size))
    for inserts, place in steps:
        if inserts:
            index = place % (len(model) + 1)
            alignment.insert(index)
            model.insert(index, NEW)
        elif model:
            index = place % len(model)
            alignment.remove(index)
            del model[index]
    return alignment, model


INTO_NEW_ONES = [(True, 0), (True, 0), (True, 1), (True, 1)]


@given(st.integers(0, 6), _steps)
@example(2, INTO_NEW_ONES)
def test_each_element_is_found_where_it_came_from(size: int, steps: list[tuple[bool, int]]) -> None:
    alignment, model = changed(size, steps)
    assert [alignment.original_index(index) for index in range(len(model))] == model


@given(st.integers(0, 6), _steps, _steps)
@example(2, INTO_NEW_ONES, [(False, 0)])
def test_what_two_arrays_share_are_the_elements_with_one_original(
    size: int, one: list[tuple[bool, int]], other: list[tuple[bool, int]]
) -> None:
    left, there = changed(size, one)
    right, here = changed(size, other)
    found = [
        (block.left + n, block.right + n, block.original + n)
        for block in common_blocks(left, right)
        for n in range(block.length)
    ]
    assert found == [
        (there.index(index), here.index(index), index)
        for index in range(size)
        if index in there and index in here
    ]
