"""Durations for people."""

from __future__ import annotations

from collections.abc import Iterator


def duration(seconds: float) -> str:
    """Seconds in the two largest units.

    >>> duration(0.4), duration(8), duration(320), duration(273_600)
    ('0s', '8s', '5m20s', '3d4h')
    """
    return "".join(list(_parts(int(seconds)))[:2]) or "0s"


def _parts(seconds: int) -> Iterator[str]:
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60), ("s", 1)):
        count, seconds = divmod(seconds, size)
        if count:
            yield f"{count}{unit}"
