"""Kill all processes of a group under writing, start again, and count what is lost.

In each round some processes write with ``journal=True`` and note each acknowledged number in a file
of their own. All are killed at a random moment. The next round starts from the file and the
journal, and must find at least what was acknowledged, and at most what was sent.
"""

from __future__ import annotations

import os
import random
import signal
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

from memsync import MemSync

WRITERS = 3


class Result(NamedTuple):
    rounds: int
    acknowledged: int
    lost: list[str]


def options(path: Path, debounce: float) -> dict[str, Any]:
    file = {"path": path, "journal": True, "debounce": debounce}
    return {"file": file, "timeout": 20}


def write_until_killed(folder: Path, debounce: float, name: str, seed: int) -> None:
    """A writer: counts up its own number, and notes each that was acknowledged."""
    rng = random.Random(seed)
    mem = MemSync("killed", {}, options(folder / "state.json", debounce))
    mem.start()
    number = int(mem.data.get(name, 0))
    notes = os.open(folder / name, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    while True:
        number += 1
        mem.patch({"$set": {name: number, f"text.{name}": "x" * rng.randrange(300)}}, journal=True)
        os.write(notes, b"%d\n" % number)
        if rng.random() < 0.3:
            mem.patch({"$inc": {f"unjournalled.{name}": 1}})


def acknowledged(folder: Path, name: str) -> int:
    """The last number that a writer has noted."""
    notes = folder / name
    lines = notes.read_bytes().split() if notes.exists() else []
    return int(lines[-1]) if lines else 0


def fork(run: Any, *arguments: Any) -> int:
    pid = os.fork()
    if pid:
        return pid
    try:
        run(*arguments)
    except BaseException as error:
        print(f"writer: {error!r}", file=sys.stderr)
    finally:
        os._exit(1)


def play(folder: Path, rounds: int, seed: int, least: int = 1) -> Result:
    """Run the rounds in a folder; `least` writes are acknowledged in each before the kills."""
    rng = random.Random(seed)
    names = [f"w{n}" for n in range(WRITERS)]
    lost: list[str] = []
    found = dict.fromkeys(names, 0)
    for number in range(rounds):
        debounce = rng.choice([0.01, 0.3, 60])
        writers = [
            fork(write_until_killed, folder, debounce, name, rng.randrange(1 << 30))
            for name in names
        ]
        begun = dict(found)
        deadline = time.monotonic() + 20
        while sum(acknowledged(folder, name) for name in names) < sum(begun.values()) + least:
            if time.monotonic() > deadline:
                lost.append(f"round {number}: fewer than {least} writes")
                break
            time.sleep(0.005)
        time.sleep(rng.random() * 0.3)
        for pid in writers:
            os.kill(pid, signal.SIGKILL)
        for pid in writers:
            os.waitpid(pid, 0)
        noted = {name: acknowledged(folder, name) for name in names}
        with MemSync("killed", {}, options(folder / "state.json", debounce)) as mem:
            found = {name: int(mem.data.get(name, 0)) for name in names}
        lost += [
            f"round {number}: {name} had {noted[name]}, found {found[name]}"
            for name in names
            if not noted[name] <= found[name] <= max(noted[name], begun[name]) + 1
        ]
    return Result(rounds, sum(acknowledged(folder, name) for name in names), lost)


def run(count: int, seed: int, folder: Path) -> tuple[str, list[str]]:
    """The campaign; `count` is the number of rounds."""
    result = play(folder, count, seed)
    segments = len(list(folder.glob("*.journal/*.jsonl")))
    line = f"{result.rounds} rounds, {result.acknowledged} acknowledged writes, {segments} segments"
    return f"{line}, {len(result.lost)} lost", result.lost
