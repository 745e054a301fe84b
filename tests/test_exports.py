"""The public names: what `__all__` says is what there is, and it is imported at first use."""

from __future__ import annotations

import importlib
import importlib.metadata
import subprocess
import sys
import types
from pathlib import Path

import pytest

import memsync
import memsync.testing
from memsync import errors

LAZY_PACKAGES = [memsync, memsync.testing]


@pytest.mark.parametrize("package", LAZY_PACKAGES, ids=lambda package: package.__name__)
class TestALazyPackage:
    """`memsync` and `memsync.testing` have a table of the names that they import at first use."""

    def test_all_is_what_can_be_imported(self, package: types.ModuleType) -> None:
        namespace: dict[str, object] = {}
        exec(f"from {package.__name__} import *", namespace)
        namespace.pop("__builtins__")
        assert set(namespace) == set(package.__all__)

    def test_dir_lists_all_names(self, package: types.ModuleType) -> None:
        assert set(package.__all__) <= set(dir(package))

    def test_the_table_is_all(self, package: types.ModuleType) -> None:
        assert list(package._MODULES) == package.__all__

    def test_each_module_of_the_table_defines_its_name(self, package: types.ModuleType) -> None:
        for name, module_name in package._MODULES.items():
            module = importlib.import_module(f"{package.__name__}.{module_name}")
            value = getattr(module, name)
            assert getattr(value, "__module__", module.__name__) == module.__name__
            assert getattr(package, name) is value

    def test_a_submodule_does_not_hide_a_name(self, package: types.ModuleType) -> None:
        # Importing a submodule stores it in the package, where it would replace the name.
        assert package.__file__ is not None
        submodules = {path.stem for path in Path(package.__file__).parent.iterdir()}
        assert submodules & set(package.__all__) == set()

    def test_a_name_that_does_not_exist(self, package: types.ModuleType) -> None:
        with pytest.raises(AttributeError, match=f"'{package.__name__}' has no attribute 'Nope'"):
            package.Nope  # noqa: B018 - the access itself is what is tested

    def test_all_is_sorted_and_has_no_name_twice(self, package: types.ModuleType) -> None:
        def constants_first(name: str) -> tuple[bool, bool, str]:
            return not name.isupper(), not name[0].isupper(), name.casefold()

        assert package.__all__ == sorted(set(package.__all__), key=constants_first)

    def test_importing_it_loads_no_dependency(self, package: types.ModuleType) -> None:
        program = (
            f"import sys, {package.__name__}\n"
            "print(*[name for name in sys.modules if name.split('.')[0] not in STDLIB])\n"
        ).replace("STDLIB", "{*sys.stdlib_module_names, '__main__', 'sitecustomize'}")
        result = subprocess.run(
            [sys.executable, "-S", "-c", program],
            env={"PYTHONPATH": str(Path(errors.__file__).parent.parent)},
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        )
        light = {"memsync", "memsync.lazy", "memsync.version", package.__name__}
        assert set(result.stdout.split()) == light


def test_submodules_that_need_no_import_of_their_own() -> None:
    program = "import memsync\nmemsync.errors.MemSyncError\nmemsync.document\nmemsync.manager\n"
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)


def test_the_names_everybody_needs() -> None:
    assert {"MemSync", "MemErrors", "MemSyncError"} <= set(memsync.__all__)


def test_every_error_is_public() -> None:
    for cls in errors.MemSyncError.__subclasses__():
        assert getattr(memsync, cls.__name__) is cls
        assert cls.__name__ in memsync.__all__


def test_the_package_is_typed_and_has_its_command() -> None:
    assert (Path(memsync.__file__).parent / "py.typed").exists()
    (script,) = importlib.metadata.entry_points(group="console_scripts", name="memsync")
    assert callable(script.load())


def test_what_the_calls_return_shows_the_documented_names_only() -> None:
    with memsync.MemSync("obj", {"n": 0}, engine="memory") as mem:
        found = {
            "events": (mem.events, {"emit", "off", "on", "once", "stream", "wait"}),
            "presence": (mem.presence, {"all", "on_change", "update"}),
            "stream": (mem.events.stream("e"), {"close"}),
            "changes": (mem.changes("n"), {"close", "missed"}),
            "subscription": (mem.observe("n", print), {"cancel"}),
            "gap": (memsync.Gap(3), {"count"}),
        }
        for name, (what, expected) in found.items():
            assert {each for each in dir(what) if each[0] != "_"} == expected, name
