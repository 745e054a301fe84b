"""The public names: what `memsync.__all__` says is what there is."""

from __future__ import annotations

import importlib.metadata
import types
from pathlib import Path

import memsync
from memsync import errors


def test_all_is_what_can_be_imported() -> None:
    namespace: dict[str, object] = {}
    exec("from memsync import *", namespace)
    namespace.pop("__builtins__")
    public = {
        name
        for name in dir(memsync)
        if not name.startswith("_") and not isinstance(getattr(memsync, name), types.ModuleType)
    }
    assert set(namespace) == set(memsync.__all__)
    assert public - {"annotations"} == set(memsync.__all__) - {"__version__"}


def test_all_is_sorted_and_has_no_name_twice() -> None:
    assert list(memsync.__all__) == sorted(set(memsync.__all__), key=str.casefold)


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
