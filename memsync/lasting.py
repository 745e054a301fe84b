"""Classes that `importlib.reload` of their module keeps, because values of them live on.

Code asks such classes for the kind of a value (``type(value) is ReadOnlyDict``). A second class of
the same name would not know the values of the first, and what is shared would be taken for a copy.
"""

from __future__ import annotations

import sys
from typing import TypeVar

T = TypeVar("T")


def lasting(kind: type[T]) -> type[T]:
    """Return the class of this name that the module has already, else `kind`."""
    kept: type[T] = vars(sys.modules[kind.__module__]).get(kind.__name__, kind)
    return kept
