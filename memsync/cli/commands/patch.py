"""``memsync patch``: a write, by a peer with the role writer that leaves at once."""

from __future__ import annotations

import sys
from typing import Any

from ...errors import UsageError
from ..group import joined, parse_json
from ..output import Output, compact


def run(arguments: Any, out: Output) -> None:
    text = _input() if arguments.update == "-" else arguments.update
    update = parse_json(text, "the update")
    where = None if arguments.where is None else parse_json(arguments.where, "--where")
    if arguments.dry_run:
        _show_patch(arguments, update, where, out)
        return
    with joined(arguments.name, "writer", timeout=arguments.timeout) as mem:
        version = mem.patch(update, where=where)
    out.show(str(version), {"version": version})


def _input() -> str:
    if sys.stdin is None:
        raise UsageError("the input is closed: '-' reads the update from it")
    try:
        return sys.stdin.read()
    except UnicodeDecodeError as error:
        raise UsageError(f"the input is not UTF-8: {error}") from None


def _show_patch(arguments: Any, update: Any, where: Any, out: Output) -> None:
    """Print what the host would make of the update, with the object of now."""
    from ...clocks import wall_ms
    from ...document import check_filter
    from ...replication.clock import HybridClock
    from ...replication.compile_proposal import compile_proposal
    from ...replication.entries import Propose
    from ...replication.kinds import KINDS

    with joined(arguments.name, timeout=arguments.timeout) as mem:
        epoch, version, document = mem.epoch, mem.version, mem.snapshot()
    body = KINDS["patch"].check(update, None)
    condition = None if where is None else check_filter(where)
    now = HybridClock().tick(wall_ms())
    proposal = Propose(1, 1, now, epoch, version, "patch", body, condition)
    patch = compile_proposal(document, proposal, version)
    out.show(compact(patch), {"version": version, "patch": patch})
