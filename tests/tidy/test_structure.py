"""The structure of the package: circles, sizes, constants, layers, words. See CONTRIBUTING.md.

`KNOWN` lists the offenders that are still there. A new offender fails the test, and so does an
entry of `KNOWN` that is no longer an offender: the lists can only shrink.
"""

from __future__ import annotations

from itertools import chain
from pathlib import Path

import pytest

from memsync import errors

from . import rules
from .package_reader import Package

KNOWN: dict[str, set[str]] = {
    "circles": set(),
    "files": set(),
    "classes": set(),
    "constants": set(),
    "layers": set(),
    "words": {
        r"\ba look\b",
        r"\banew\b",
        r"\bmend(s|ed|ing)?\b",
        r"\bof the host's\b",
        r"\bso many\b",
    },
}

PACKAGE = Package(Path(errors.__file__).parent)
ROOT = Path(__file__).parent.parent.parent

LINES_MAX = 400  # of a file
METHODS_MAX = 30  # of a class

# A part may import from its own layer and from those before it in this list.
LAYERS = [
    {"errors", "lazy", "version"},
    {"options"},
    {"document"},
    {"replication"},
    {"engine"},
    {"runtime"},
    {"manager", "memory"},
    {"handle", "status", "lifecycle"},
    {""},  # memsync/__init__.py
    {"cli", "testing"},
]
INDEPENDENT = {"manager", "memory"}  # engines, of which none knows another

# Numbers of `manager` that are no tuning: formats, and limits that the system sets.
ALLOWED_NUMBERS = {
    "FRAME_MAX",  # the length field of a frame
    "KEY_BYTES",  # the size of a key file
    "LIFE",  # a token of the protocol
    "PROTOCOL",  # the version of the messages
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
