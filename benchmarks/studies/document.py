"""What compiling and replaying an update costs, against the bare Python statement.

Run: ``python -m benchmarks.studies.document``. All times are medians, in microseconds. The first
functions take turns, so that what else the machine does falls on all of them alike. Each ratio is
to the bare function.
"""

from __future__ import annotations

import statistics
import timeit
from typing import Any

from memsync.document import Draft, compile_patch, compile_update, make_live, paths, replay
from memsync.document.update import plan

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
    forget_plans()
    replay(root, compile_update(root, update))


def unparsed(root: Any, update: dict[str, Any]) -> None:
    """The same for paths not seen before either."""
    forget_paths()
    replay(root, compile_update(root, update))


def forget_plans() -> None:
    plan._plans.clear()


def forget_paths() -> None:
    forget_plans()
    plan.step_for.cache_clear()
    paths.parse_path.cache_clear()


def nothing() -> None:
    """A call of an empty function, to be subtracted with the clearing of caches."""


def timer_of(function: Any, *arguments: Any) -> timeit.Timer:
    # Names instead of *arguments, which would make the bare function look dear.
    named = {f"argument{number}": value for number, value in enumerate(arguments)}
    return timeit.Timer(f"function({', '.join(named)})", globals={"function": function, **named})


def interleaved(
    calls: dict[str, tuple[Any, ...]], rounds: int = 60, number: int = 1_000
) -> dict[str, float]:
    """The median time of one call of each, in microseconds; the calls take turns."""
    times: dict[str, list[float]] = {name: [] for name in calls}
    timers = {name: timer_of(*call) for name, call in calls.items()}
    for _ in range(rounds):
        for name, timer in timers.items():
            times[name].append(timer.timeit(number) / number * 1e6)
    return {name: statistics.median(taken) for name, taken in times.items()}


def microseconds(function: Any, *arguments: Any, number: int = 1_000) -> float:
    """The median time of one call, in microseconds."""
    return interleaved({"it": (function, *arguments)}, 9, number)["it"]


def row(label: str, cost: float, base: float) -> None:
    print(f"{label:<58}{cost:>9.2f} us{cost / base:>8.1f} x")


def object_of(size: int) -> dict[str, Any]:
    return {f"k{number}": number for number in range(size)} | {"a": {"b": 1}}


def main() -> None:
    """Print the table."""
    root = make_live({"a": {"b": 1}}, None)
    operations = [{"op": "replace", "path": "/a/b", "value": 1}]
    times = interleaved(
        {
            "bare": (bare, {"a": {"b": 1}}),
            "both": (both, root, UPDATE),
            "uncached": (uncached, root, UPDATE),
            "forget_plans": (forget_plans,),
            "unparsed": (unparsed, root, UPDATE),
            "forget_paths": (forget_paths,),
            "nothing": (nothing,),
            "compile": (compile_update, root, UPDATE),
            "replay": (replay, root, operations),
        }
    )
    base = times["bare"]
    clearing = {name: times[name] - times["nothing"] for name in ("forget_plans", "forget_paths")}
    row("bare function: d['a']['b'] += 1", base, base)
    row("compile and replay, shape seen before (aim 25)", times["both"], base)
    row(
        "compile and replay, shape new, path seen before (aim 40)",
        times["uncached"] - clearing["forget_plans"],
        base,
    )
    row(
        "compile and replay, shape and path new",
        times["unparsed"] - clearing["forget_paths"],
        base,
    )
    row("compile alone", times["compile"], base)
    row("replay alone", times["replay"], base)
    for size in SIZES:
        root = make_live(object_of(size), None)
        row(f"compile and replay in {size:,} keys", microseconds(both, root, UPDATE), base)
    for update in (
        {"$set": {"a.b": 1}, "$inc": {"k1": 1}},
        {"$set": {"new": 1}, "$unset": {"new2": ""}},
    ):
        for size in SIZES:
            root = make_live(object_of(size), None)
            cost = microseconds(both, root, update, number=500)
            row(f"{' '.join(update)}, two fields, in {size:,} keys", cost, base)
    root = make_live(object_of(100_000), None)

    def edit() -> None:
        draft = Draft(root)
        draft.root["a"]["b"] += 1
        replay(root, compile_patch(root, draft.patch()))

    row("edit one field of 100,000", microseconds(edit, number=200), base)


if __name__ == "__main__":
    main()
