"""How much of a journal is kept: the option ``journal.keep``."""

from __future__ import annotations

import re
from typing import NamedTuple

_LIMIT = re.compile(r"(\d+(?:\.\d+)?)\s*([A-Za-z]*)")
_BYTES = {"": 1, "b": 1, "bytes": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "tb": 10**12}
_DAYS = {"d": 1, "day": 1, "days": 1}


class Keep(NamedTuple):
    """The limits of a journal; None: there is none."""

    bytes: int | None
    days: float | None


def parse_keep(keep: int | str) -> Keep:
    """The limits that ``journal.keep`` states; raises `ValueError` for other texts.

    >>> parse_keep("1 GB, 30 days"), parse_keep("7 days")
    (Keep(bytes=1000000000, days=30.0), Keep(bytes=None, days=7.0))
    >>> parse_keep(5000)
    Keep(bytes=5000, days=None)
    """
    size, days = None, None
    for part in str(keep).split(","):
        found = _LIMIT.fullmatch(part.strip())
        unit = found[2].lower() if found else None
        if found and unit in _BYTES and size is None:
            size = int(float(found[1]) * _BYTES[unit])
        elif found and unit in _DAYS and days is None:
            days = float(found[1])
        else:
            raise ValueError(part.strip())
    return Keep(size, days)
