"""Packages that import their names at first use (PEP 562), so that importing them is fast."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any


def lazy_names(
    package: str, modules: Mapping[str, str], submodules: tuple[str, ...] = ()
) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """The functions ``__getattr__`` and ``__dir__`` of a package.

    `modules` maps each name to the submodule that defines it. `submodules` are attributes that
    need no import.
    """
    namespace = vars(sys.modules[package])

    def getattr_lazily(name: str) -> Any:
        if name in submodules:
            return import_module(f"{package}.{name}")
        if name not in modules:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        # The next access finds the name in the namespace.
        value = namespace[name] = getattr(import_module(f"{package}.{modules[name]}"), name)
        return value

    def dir_of_package() -> list[str]:
        return sorted({*namespace, *modules, *submodules})

    return getattr_lazily, dir_of_package
