"""What compiling and replaying an update costs, against the bare Python statement.

Run it with ``python benchmarks/document.py``. All times are the best of several runs, in
microseconds, and each ratio is to the bare function measured in the same process.
"""

from __future__ import annotations

import timeit
from typing import Any

from memsync.document import Draft, compile_patch, compile_update, make_live, paths, plan, replay

SIZES = (10, 10_000, 1_000_000)
UPDATE = {"$inc": {"a.b": 1}}


def bare(document: dict[str, Any]) -> None:
    """What a program without memsync would write."""
    document["a"]["b"] += 1


def both(root: Any, update: dict[str, Any]) -> None:
    """Compile an update and replay it, as the host does."""
    replay(root, compile_update(root, update))


def uncached(root: Any, update: dict[str, Any]) -> None:
    """The same for an update of a shape not seen before."""
    plan._plans.clear()
    replay(root, compile_update(root, update))


def unparsed(root: Any, update: dict[str, Any]) -> None:
    """The same for paths not seen before either."""
    plan._step.cache_clear()
    paths.parse_path.cache_clear()
    uncached(root, update)


def microseconds(function: Any, *arguments: Any, number: int = 20_000) -> float:
    """The best time of one call, in microseconds."""
    timer = timeit.Timer(
        "function(*arguments)", globals={"function": function, "arguments": arguments}
    )
    return min(timer.repeat(repeat=9, number=number)) / number * 1e6


def row(label: str, cost: float, base: float) -> None:
    print(f"{label:<58}{cost:>9.2f} us{cost / base:>8.1f} x")


def object_of(size: int) -> dict[str, Any]:
    return {f"k{number}": number for number in range(size)} | {"a": {"b": 1}}


def main() -> None:
    """Print the table."""
    base = microseconds(bare, {"a": {"b": 1}})
    row("bare function: d['a']['b'] += 1", base, base)
    root = make_live({"a": {"b": 1}}, None)
    row("compile and replay, shape seen before", microseconds(both, root, UPDATE), base)
    row(
        "compile and replay, shape new, path seen before",
        microseconds(uncached, root, UPDATE),
        base,
    )
    row("compile and replay, shape and path new", microseconds(unparsed, root, UPDATE), base)
    row("compile alone", microseconds(compile_update, root, UPDATE), base)
    operations = [{"op": "replace", "path": "/a/b", "value": 1}]
    row("replay alone", microseconds(replay, root, operations), base)
    for size in SIZES:
        root = make_live(object_of(size), None)
        row(f"compile and replay in {size:,} keys", microseconds(both, root, UPDATE), base)
    for update in (
        {"$set": {"a.b": 1}, "$inc": {"k1": 1}},
        {"$set": {"new": 1}, "$unset": {"new2": ""}},
    ):
        for size in SIZES:
            root = make_live(object_of(size), None)
            cost = microseconds(both, root, update, number=5_000)
            row(f"{' '.join(update)}, two fields, in {size:,} keys", cost, base)
    root = make_live(object_of(100_000), None)

    def edit() -> None:
        draft = Draft(root)
        draft.root["a"]["b"] += 1
        replay(root, compile_patch(root, draft.patch()))

    row("edit one field of 100,000", microseconds(edit, number=2_000), base)


if __name__ == "__main__":
    main()
