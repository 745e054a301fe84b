"""A page of ``memsync top``: facts of the host as lines of text."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ..clocks import wall
from .cells import cut, padded, plain, width
from .duration import duration

_BARS = "▁▂▃▄▅▆▇█"
_LOCK_CELLS = 40  # of the name of a lock, which may have 300 characters
_PEERS_SHARE = 0.45  # of the lines below the head


def page(facts: dict[str, Any], rates: list[float], columns: int, lines: int) -> list[str]:
    """At most `lines` lines of at most `columns` characters."""
    head = [*_head(facts, rates, columns), ""]
    left = max(lines - len(head), 3)
    peers = _table(("PEER", "PID", "", "ROLES", "METHODS"), list(_peers(facts)))
    locks = _table(("LOCK", "HOLDER", "SINCE", "WAITING"), list(_locks(facts)))
    recent = ["LAST WRITES", *_recent(facts)]
    below = [""]
    peers = _shortened(peers, max(int(left * _PEERS_SHARE), 2))
    locks = [*_shortened(locks, max(left // 4, 2)), *below] if facts["locks"] else []
    body = [*peers, *below, *locks]
    body += recent[: max(left - len(body), 0)]
    return [cut(plain(line), columns).rstrip() for line in [*head, *body][:lines]]


def sparkline(rates: list[float], width: int) -> str:
    """The newest rates as bars, of which the highest is the largest rate."""
    shown = rates[-width:] if width > 0 else []
    most = max(shown, default=0.0)
    top = len(_BARS) - 1
    return "".join(_BARS[round(rate / most * top) if most else 0] for rate in shown)


def _head(facts: dict[str, Any], rates: list[float], columns: int) -> Iterator[str]:
    pids = {member["id"]: member["pid"] for member in facts["members"]}
    host = facts["host"]
    who = "no host answers" if host is None else f"host {host[:8]} (process {pids.get(host, '?')})"
    age = duration(max(wall() - facts["founded"], 0))
    count = len(facts["members"])
    yield f"{facts['name']}: {who}, {count} peer{'s' * (count != 1)}"
    yield f"epoch {facts['epoch']}  version {facts['version']}  age {age}"
    rate = "-" if not rates else f"{rates[-1]:.0f}"
    text = f"writes/s {rate:>7}  "
    yield text + sparkline(rates, columns - len(text))


def _peers(facts: dict[str, Any]) -> Iterator[tuple[str, ...]]:
    for member in facts["members"]:
        mark = "host" if member["id"] == facts["host"] else ""
        roles = ",".join(member["roles"]) or "-"
        methods = ",".join(member["methods"]) or "-"
        yield member["id"], str(member["pid"]), mark, roles, methods


def _locks(facts: dict[str, Any]) -> Iterator[tuple[str, ...]]:
    for name, lock in facts["locks"].items():
        for holder in lock["holders"]:
            since = duration(max(wall() - holder["since"], 0))
            yield cut(plain(name), _LOCK_CELLS), str(holder["pid"]), since, str(len(lock["queue"]))


def _recent(facts: dict[str, Any]) -> list[str]:
    return [f"{each['version']:>8}  {each['peer'][:8]}  {each['text']}" for each in facts["recent"]]


def _table(header: tuple[str, ...], rows: list[tuple[str, ...]]) -> list[str]:
    every = [header, *(tuple(map(plain, row)) for row in rows)]
    widths = [max(width(row[column]) for row in every) for column in range(len(header))]
    return ["  ".join(map(padded, row, widths)).rstrip() for row in every]


def _shortened(lines: list[str], most: int) -> list[str]:
    if len(lines) <= most:
        return lines
    return [*lines[: most - 1], f"... and {len(lines) - most + 1} more"]
