"""Compiled operations: what every change of a document ends as.

A compiled operation is an RFC 6902 ``add``, ``remove`` or ``replace`` with a pointer that exists.
"""

from __future__ import annotations

from typing import Any

Operation = dict[str, Any]
