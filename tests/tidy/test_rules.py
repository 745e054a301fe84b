"""Each rule of structure finds its offenders in a synthetic package."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from textwrap import dedent

import pytest

from . import rules
from .package_reader import Package, components, imports_of

WritesPackage = Callable[..., Package]


@pytest.fixture
def package(tmp_path: Path) -> WritesPackage:
    """Write the files of a package `house` and read it."""

    def write(**sources: str) -> Package:
        root = tmp_path / "house"
        for name, source in {"__init__": "", **sources}.items():
            path = root / f"{name.replace('__', '/') if name != '__init__' else name}.py"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(dedent(source))
        for folder in [path for path in root.iterdir() if path.is_dir()]:
            (folder / "__init__.py").touch()
        return Package(root)

    return write


class TestImports:
    """`imports_of` reads every form of an import."""

    def test_it_sees_every_form(self) -> None:
        source = (
            "import time, os.path as p\n"
            "from socket import socket\n"
            "def f():\n"
            "    import random\n"
            "    from ..manager import link\n"
            "class A:\n"
            "    from . import paths\n"
            "from .. import peer, MemSync\n"
        )
        assert {tuple(item) for item in imports_of(source, "memsync.document.query")} == {
            ("time", None, 1, True),
            ("os.path", None, 1, True),
            ("socket", "socket", 2, True),
            ("random", None, 4, False),
            ("memsync.manager", "link", 5, False),
            ("memsync.document", "paths", 7, True),
            ("memsync", "peer", 8, True),
            ("memsync", "MemSync", 8, True),
        }

    def test_a_package_is_its_own_parent(self) -> None:
        (found,) = imports_of("from .paths import split", "memsync.document", is_package=True)
        assert found.module == "memsync.document.paths"


class TestCircles:
    """`modules_in_circles`"""

    def test_none(self, package: WritesPackage) -> None:
        house = package(a="from . import b, c", b="from .c import name", c="name = 1")
        assert rules.modules_in_circles(house) == set()

    @pytest.mark.parametrize(
        "back",
        [
            "from .a import thing",
            "from . import a",
            "import house.a",
            "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from .a import thing",
            "def late():\n    from .a import thing",
        ],
    )
    def test_each_form_of_import_closes_a_circle(self, package: WritesPackage, back: str) -> None:
        house = package(a="from .b import x\nthing = 1", b="from .c import x", c=back, d="import a")
        assert rules.modules_in_circles(house) == {"house.a", "house.b", "house.c"}

    def test_a_name_that_a_package_passes_on_leads_to_its_definer(
        self, package: WritesPackage
    ) -> None:
        house = package(
            rooms__kitchen="from . import Bed",
            rooms__bedroom="class Bed: ...",
            door="from .rooms import Bed",
        )
        (house.root / "rooms" / "__init__.py").write_text(
            "from .kitchen import Oven\nfrom .bedroom import Bed\n"
        )
        house = Package(house.root)
        assert rules.modules_in_circles(house) == set()
        (house.root / "rooms" / "bedroom.py").write_text("from . import Oven\nclass Bed: ...\n")
        assert rules.modules_in_circles(Package(house.root)) == {
            "house.rooms.kitchen",
            "house.rooms.bedroom",
        }

    def test_a_name_of_unknown_origin_leads_to_the_package(self, package: WritesPackage) -> None:
        house = package(rooms__kitchen="from . import SIZE")
        (house.root / "rooms" / "__init__.py").write_text("from .kitchen import Oven\nSIZE = 1\n")
        found = rules.modules_in_circles(Package(house.root))
        assert found == {"house.rooms", "house.rooms.kitchen"}

    def test_components(self) -> None:
        graph = {"a": {"b"}, "b": {"a", "c"}, "c": {"d"}, "d": {"c"}, "e": {"a"}}
        assert components(graph) == [{"a", "b"}, {"c", "d"}, {"e"}]


def test_long_files(package: WritesPackage) -> None:
    house = package(short="\n" * 10, long="\n" * 11, rooms__long="\n" * 12)
    assert rules.long_files(house, 10) == {"long.py", "rooms/long.py"}


def test_large_classes(package: WritesPackage) -> None:
    house = package(
        a="""
        class Large:
            async def one(self): ...
            @property
            def two(self): ...
            def three(self): ...

        def function():
            class Small:
                def one(self): ...
                def two(self): ...
                two = three = None
        """
    )
    assert rules.large_classes(house, 2) == {"a.py: Large"}


def test_tuning_constants(package: WritesPackage) -> None:
    house = package(
        manager__host="""
        _PAUSE = 0.5  # seconds
        _SIZE: int = 1 << 14
        LIMIT = -(2**31) + 1
        _STEPS = (0.1, 0.2)
        _BITS = 7
        _NAME, _FLAG, _LATE = "name", True, None
        _TEXT = "1"
        _IS_ON = True
        _MADE = float("inf")
        def function():
            inner = 1
        """,
        manager__timing="_PAUSE = 1.0",
        document="_PAUSE = 1.0",
    )
    found = rules.tuning_constants(house, "manager", "timing.py", allowed={"_BITS"})
    names = ("_PAUSE", "_SIZE", "LIMIT", "_STEPS")
    assert found == {f"manager/host.py: {name}" for name in names}


def test_decimal_numbers(package: WritesPackage) -> None:
    house = package(
        manager__host="""
        def function(ready, seconds=0.5):
            ready.wait(min(seconds, 2.5))
            return seconds * 1e9 + 0.0 + 7
        """,
        manager__timing="PAUSE = 1.5",
        document="PAUSE = 1.5",
    )
    found = rules.decimal_numbers(house, "manager", "timing.py", allowed={0.0, 1e9})
    assert found == {"manager/host.py: 0.5", "manager/host.py: 2.5"}


def test_imports_against_the_layers(package: WritesPackage) -> None:
    house = package(
        low="def late():\n    from .high import x",
        left="from . import low, right",
        right="from .left import x",
        high="from .low import x\nimport os",
        stranger="",
    )
    layers = [{"low"}, {"left", "right"}, {"high"}, {""}]
    wrong = {"house.low imports house.high", "house.stranger is in no layer"}
    assert rules.imports_against_the_layers(house, layers, set()) == wrong
    assert rules.imports_against_the_layers(house, layers, {"left", "right"}) == wrong | {
        "house.left imports house.right",
        "house.right imports house.left",
    }


def test_a_part_may_not_import_from_the_package_itself(package: WritesPackage) -> None:
    house = package(low="from . import name")
    layers = [{"low"}, {""}]
    assert rules.imports_against_the_layers(house, layers, set()) == {"house.low imports house"}


def test_places_of_a_pattern(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("once\nAnew and anew\nmanewer\nanew\n")
    assert rules.places_of(r"\banew\b", {"page.md": page}) == ["page.md:2", "page.md:4"]


def test_filters_in_blocks_are_found(package: WritesPackage) -> None:
    found = package(
        held="""
            def f(lock, items):
                with lock:
                    return [item for item in items if item]
        """,
        ended="""
            def f(lock, items):
                lock.acquire()
                try:
                    items = {item for item in items if item}
                finally:
                    lock.release()
        """,
        apart="""
            def g(items):
                return [item for item in items if item]
            def f(lock, items):
                with lock:
                    return g(items), [item for item in items], any(item for item in items if item)
        """,
        lenient="""
            def f(items):
                with contextlib.suppress(OSError):
                    return [item for item in items if item]
        """,
    )
    assert rules.filters_in_blocks(found) == {"house.held", "house.ended"}
