"""The structure of the package: circles, sizes, constants, layers, words. See CONTRIBUTING.md.

`KNOWN` lists the offenders that are still there. A new offender fails the test, and so does an
entry of `KNOWN` that is no longer an offender: the lists can only shrink.
"""

from __future__ import annotations

from itertools import chain
from pathlib import Path

import pytest
import rules
from package_reader import Package

from memsync import errors

KNOWN: dict[str, set[str]] = {
    "circles": {
        "memsync.document.conditions",
        "memsync.document.query",
        "memsync.manager.election",
        "memsync.manager.gathering",
        "memsync.manager.hand_over",
        "memsync.manager.host",
        "memsync.manager.link",
        "memsync.manager.node",
        "memsync.manager.outgoing",
        "memsync.manager.presence",
        "memsync.manager.proxy",
        "memsync.manager.relief",
        "memsync.manager.seat",
    },
    "files": {
        "manager/folder.py",
        "manager/host.py",
        "manager/link.py",
        "manager/node.py",
        "manager/own_writes.py",
        "peer.py",
    },
    "classes": {
        "manager/folder.py: ObjectFolder",
        "manager/host.py: Host",
        "manager/link.py: Link",
        "manager/node.py: Node",
        "peer.py: MemSync",
    },
    "constants": {
        "manager/channel.py: RECEIVE_BYTES",
        "manager/channel.py: RECEIVE_TIMEOUT",
        "manager/channel.py: SEND_BYTES",
        "manager/election.py: _DIAL_TIMEOUT",
        "manager/election.py: _FIRST_PAUSE",
        "manager/election.py: _LONGEST_PAUSE",
        "manager/election.py: _PRECEDENCE",
        "manager/election.py: _SHORT_PATIENCE",
        "manager/files.py: TEMPORARY_AGE",
        "manager/files.py: _MAX_BYTES",
        "manager/folder.py: _LOOKS_MAX",
        "manager/gathering.py: _BREAKS",
        "manager/gathering.py: _FETCH_PATIENCE",
        "manager/gathering.py: _FOUNDING_PATIENCE",
        "manager/gathering.py: _LONGEST_LOOK",
        "manager/gathering.py: _MENDING_PAUSE",
        "manager/gathering.py: _PAUSE",
        "manager/hand_over.py: _LOOK",
        "manager/hand_over.py: _PATIENCE",
        "manager/hand_over.py: _SUCCESSOR_PATIENCE",
        "manager/handshakes.py: _FAIR_TIME",
        "manager/handshakes.py: _KNOWN_MAX",
        "manager/handshakes.py: _KNOWN_TIME",
        "manager/handshakes.py: _NOTICE",
        "manager/host.py: _CLOSE_PATIENCE",
        "manager/host.py: _QUICK_LOOK",
        "manager/host.py: _SUSPICION",
        "manager/lag.py: _BUSY",
        "manager/lag.py: _ENOUGH",
        "manager/lag.py: _IDLE",
        "manager/lag.py: _LEAST",
        "manager/lag.py: _RECENT",
        "manager/lag.py: _STEPS",
        "manager/lag.py: _WINDOW",
        "manager/link.py: _FENCE_PATIENCE",
        "manager/link.py: _PACKET",
        "manager/node.py: _ATTEMPTS",
        "manager/node.py: _FIRST_PAUSE",
        "manager/node.py: _LONGEST_PAUSE",
        "manager/node.py: _RETRY",
        "manager/node.py: _SHORT_LINK",
        "manager/node.py: _STOP_PATIENCE",
        "manager/outgoing.py: STALL",
        "manager/outgoing.py: _LAZY_ROUNDS",
        "manager/presence.py: _MISSING_GRACE",
        "manager/relief.py: PAUSE",
        "manager/relief.py: _INTEREST",
        "manager/relief.py: _OWN_DESCRIPTORS",
        "manager/relief.py: _RHYTHM",
        "manager/relief.py: _SHORT_PATIENCE",
        "manager/relief.py: _STALE",
        "manager/seat.py: _BLINK",
        "manager/server.py: _BACKLOG",
        "manager/server.py: _CROWDED_PAUSE",
        "manager/server.py: _REFUSALS_PAUSE",
        "manager/server.py: _SHORT_OF_DESCRIPTORS_PAUSE",
        "manager/shortage.py: _PATIENCE",
        "manager/shortage.py: _PAUSE",
        "manager/shortage.py: _RESERVED",
        "manager/watcher.py: POLL_INTERVAL",
        "manager/watcher.py: _STOP_PATIENCE",
    },
    "layers": {
        "memsync.waiting imports memsync.manager.node",
    },
    "words": {
        r"\banew\b",
        r"\bmend(s|ed|ing)?\b",
        r"\bso many\b",
        r"\bof the host's\b",
        r"\ba look\b",
    },
}

PACKAGE = Package(Path(errors.__file__).parent)
ROOT = Path(__file__).parent.parent.parent

LINES_MAX = 400  # of a file
METHODS_MAX = 30  # of a class

# A part may import from its own layer and from those before it in this list.
LAYERS = [
    {"errors", "lazy", "version"},
    {"options", "schema", "config"},
    {"document"},
    {"replication"},
    {"engine"},
    {"runtime", "dispatcher", "edits", "waiting"},
    {"manager", "memory"},
    {"handle", "peer", "status", "lifecycle"},
    {""},  # memsync/__init__.py
    {"cli", "testing"},
]
INDEPENDENT = {"manager", "memory"}  # engines, of which none knows another

# Numbers of `manager` that are no tuning: formats, and limits that the system sets.
ALLOWED_NUMBERS = {
    "FRAME_MAX",  # the length field of a frame
    "KEY_BYTES",  # the size of a key file
    "_LIFE",  # a token of the protocol
    "_NETWORK_WIDTH",  # of a field in a lock file
    "_SOCKET_PATH_MAX",  # sun_path of the kernel
}

WORDS = [r"\banew\b", r"\bmend(s|ed|ing)?\b", r"\bso many\b", r"\bof the host's\b", r"\ba look\b"]
TEXTS = {
    path.relative_to(ROOT).as_posix(): path
    for path in chain(
        ROOT.glob("*.md"),
        *((ROOT / folder).rglob("*.*") for folder in ("benchmarks", "configs", "docs", "examples")),
        PACKAGE.root.rglob("*.py"),
    )
    if path.suffix in (".md", ".py", ".yaml")
}

RULES = {
    "circles": lambda: rules.modules_in_circles(PACKAGE),
    "files": lambda: rules.long_files(PACKAGE, LINES_MAX),
    "classes": lambda: rules.large_classes(PACKAGE, METHODS_MAX),
    "constants": lambda: rules.tuning_constants(PACKAGE, "manager", "timing.py", ALLOWED_NUMBERS),
    "layers": lambda: rules.imports_against_the_layers(PACKAGE, LAYERS, INDEPENDENT),
    "words": lambda: {pattern for pattern in WORDS if rules.places_of(pattern, TEXTS)},
}


@pytest.mark.parametrize("name", RULES)
def test_the_offenders_are_the_known_ones(name: str) -> None:
    found = RULES[name]()
    known = KNOWN.get(name, set())
    new = found - known
    if name == "words":
        assert {pattern: rules.places_of(pattern, TEXTS) for pattern in new} == {}
    assert new == set(), f"against the rule {name!r}"
    assert known - found == set(), f"no longer an offender: remove it from KNOWN[{name!r}]"


def test_known_has_no_rule_that_does_not_exist() -> None:
    assert set(KNOWN) <= set(RULES)


def test_each_allowed_number_exists() -> None:
    numbers = rules.tuning_constants(PACKAGE, "manager", "timing.py", set())
    names = {number.split(": ")[1] for number in numbers}
    assert names >= ALLOWED_NUMBERS, ALLOWED_NUMBERS - names


def test_there_is_something_to_check() -> None:
    parts = {module.part for module in PACKAGE.modules.values()}
    assert {"", "errors", "document", "replication", "manager", "cli"} <= parts
    assert {"README.md", "docs/guarantees.md", "memsync/errors.py"} <= set(TEXTS)
