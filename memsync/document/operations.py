"""The type of RFC 6902 operations.

A *compiled* operation is an ``add``, ``remove`` or ``replace`` that is known to fit the document it
was compiled against.
"""

from __future__ import annotations

from typing import Any

Operation = dict[str, Any]
