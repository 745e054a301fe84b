"""The structure of the package: circles, sizes, constants, layers, words. See CONTRIBUTING.md.

`KNOWN` lists the offenders that are still there. A new offender fails the test, and so does an
entry of `KNOWN` that is no longer an offender: the lists can only shrink.
"""

from __future__ import annotations

from collections.abc import Set
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
    "words": set(),
}

PACKAGE = Package(Path(errors.__file__).parent)
ROOT = Path(__file__).parent.parent.parent

LINES_MAX = 400  # of a file
METHODS_MAX = 30  # of a class

# A part may import from its own layer and from those before it in this list.
LAYERS = [
    {"clocks", "errors", "lasting", "lazy", "version"},
    {"options"},
    {"document"},
    {"replication"},
    {"engine"},
    {"runtime"},
    {"storage"},
    {"manager", "memory"},
    {"rpc", "http"},
    {
        *("at_exit", "calls", "events", "group", "handle", "leaver", "lifecycle"),
        *("left_engine", "locking", "locks", "once", "presence", "shared_peer", "status"),
        *("turns", "watching"),
    },
    {""},  # memsync/__init__.py
    {"cli", "testing"},
    {"__main__"},
]
INDEPENDENT = {"manager", "memory"}  # engines, of which none knows another

# Numbers of `manager` that are no tuning: formats, and limits that the system sets.
ALLOWED_NUMBERS = {
    "FRAME_MAX",  # the length field of a frame
    "KEY_BYTES",  # the size of a key file
    "LIFE",  # a token of the protocol
    "SIGN",  # likewise
    "PROTOCOL",  # the version of the messages
    "_LAST_STANDARD",  # the descriptor of the output for errors
    "_SOCKET_PATH_MAX",  # sun_path of the kernel
}

UNITS = {0.0, 1e6, 1e9}  # no time at all, and factors between units

# Phrases of translated English, each with what a native writer uses instead. Only those that a
# pattern finds with few false hits; CONTRIBUTING.md states the rules.
WORDS = [
    r"\banew\b",  # again, or a new one
    r"\bmend(s|ed|ing)?\b",  # repair
    r"\bso (many|long)\b",  # that many, at most `n`; as long as
    r"\bof the \w+'s\b(?! \w)",  # the host's own writes, not: writes of the host's
    r"\bof (ours|theirs|mine|hers)\b",
    r"\b(a|the next|another|two) looks?\b",  # a check
    r"\blooked\b",  # checked, searched, read
    r"\b(told|tells)\b",  # reported, logged, documented
    r"\bwho (is|has|was)\b",  # a peer that is; "which peer is host" as a question
    r"(?<!that )\bit counts\b",  # it is valid, it wins
    r", for (it|they|nobody|somebody|there|others) ",  # because
    r"\bshak(es?|ing) hands\b",  # an unauthenticated connection
    r"\b(bring|brings|brought|bringing|is) level\b",  # catch up
    r"\bgives? way\b",  # steps down
    r"\bhears? of\b",  # is called with, is notified
]


def texts(*folders: Path, suffixes: Set[str]) -> dict[str, Path]:
    """The files in the folders, by their paths in the repository."""
    found = chain.from_iterable(folder.rglob("*.*") for folder in folders)
    return {p.relative_to(ROOT).as_posix(): p for p in sorted(found) if p.suffix in suffixes}


CODE = texts(PACKAGE.root, ROOT / "benchmarks", suffixes={".py"})
DOCUMENTS = {path.name: path for path in ROOT.glob("*.md")} | texts(
    ROOT / "docs", ROOT / "examples", ROOT / "configs", suffixes={".md", ".py", ".yaml"}
)

RULES = {
    "circles": lambda: rules.modules_in_circles(PACKAGE),
    "files": lambda: rules.long_files(PACKAGE, LINES_MAX),
    "classes": lambda: rules.large_classes(PACKAGE, METHODS_MAX),
    "constants": lambda: rules.tuning_constants(PACKAGE, "manager", "timing.py", ALLOWED_NUMBERS),
    "decimals": lambda: rules.decimal_numbers(PACKAGE, "manager", "timing.py", UNITS),
    "filters": lambda: rules.filters_in_blocks(PACKAGE),
    "layers": lambda: rules.imports_against_the_layers(PACKAGE, LAYERS, INDEPENDENT),
    "words": lambda: {pattern for pattern in WORDS if rules.places_of(pattern, CODE)},
    "words in documents": lambda: {
        pattern for pattern in WORDS if rules.places_of(pattern, DOCUMENTS)
    },
}


@pytest.mark.parametrize("name", RULES)
def test_the_offenders_are_the_known_ones(name: str) -> None:
    found = RULES[name]()
    known = KNOWN.get(name, set())
    new = found - known
    if name.startswith("words"):
        files = CODE if name == "words" else DOCUMENTS
        assert {pattern: rules.places_of(pattern, files) for pattern in new} == {}
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
    assert {"memsync/errors.py", "benchmarks/cli.py"} <= set(CODE)
    assert {"README.md", "docs/guarantees.md", "configs/default.yaml"} <= set(DOCUMENTS)
