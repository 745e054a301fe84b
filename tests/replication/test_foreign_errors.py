"""An error of other code inside the sequencer: nothing has happened, or the copy is torn (G1)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from memsync.errors import MemErrors, from_wire
from memsync.replication import sequencer as sequencer_module
from memsync.replication.entries import Decision
from memsync.replication.kinds.patch import PatchKind
from memsync.replication.log import Log
from memsync.replication.sequencer import Sequencer
from memsync.replication.sessions import WriterSession
from memsync.replication.state import State, TornCopyError

from .builders import entry_of, proposal, reign

BAD = {"$inc": {"s": 1}}  # the field s is a string
errors = pytest.mark.parametrize(
    "error", [MemoryError(), RuntimeError("x"), KeyError("y")], ids=repr
)


@pytest.fixture
def host() -> Sequencer:
    """A host with two writers."""
    return reign({"n": 0, "s": "text"}, "w", "v")


def failing(error: Exception, first: Callable[..., Any] | None = None) -> Callable[..., Any]:
    """A function that raises, after it has called the `first` one."""

    def fail(*args: Any, **kwargs: Any) -> None:
        if first is not None:
            first(*args, **kwargs)
        raise error

    return fail


@errors
@pytest.mark.parametrize("is_late", [False, True])
@pytest.mark.parametrize(
    ("owner", "name"),
    [(State, "apply"), (PatchKind, "apply"), (WriterSession, "record"), (Log, "append")],
)
def test_an_error_in_the_change_tears_the_copy(
    host: Sequencer,
    monkeypatch: pytest.MonkeyPatch,
    owner: Any,
    name: str,
    is_late: bool,
    error: Exception,
) -> None:
    monkeypatch.setattr(owner, name, failing(error, getattr(owner, name) if is_late else None))
    with pytest.raises(TornCopyError):
        host.propose("w", proposal(1))
    monkeypatch.undo()
    assert host.state.torn
    with pytest.raises(TornCopyError):
        host.propose("v", proposal(1))


@errors
@pytest.mark.parametrize("name", ["frame", "to_wire", "shortened"])
def test_an_error_before_the_change_takes_no_number(
    host: Sequencer, monkeypatch: pytest.MonkeyPatch, name: str, error: Exception
) -> None:
    version, body = host.state.version, None if name == "frame" else BAD
    monkeypatch.setattr(sequencer_module, name, failing(error))
    if name == "frame" and isinstance(error, MemoryError):
        decision = host.propose("w", proposal(1, body))
        assert isinstance(decision, Decision)
        assert from_wire(decision.error or []).code is MemErrors.ERR_TOO_LARGE
        return
    with pytest.raises(type(error)):
        host.propose("w", proposal(1, body))
    monkeypatch.undo()
    assert (host.last("w"), host.state.version, host.state.torn) == (0, version, False)
    assert isinstance(host.propose("w", proposal(1, BAD)), Decision)
    assert entry_of(host.propose("w", proposal(2))).decided[0][0] == 1


def test_a_proposal_on_which_the_host_has_failed_is_refused_once(host: Sequencer) -> None:
    decision = host.refuse("w", 1, RuntimeError("on purpose"))
    assert "on purpose" in str(from_wire(decision.error or []))
    assert host.last("w") == 1
    assert host.refuse("w", 1, RuntimeError("again")) == decision
    assert host.propose("w", proposal(1)) == decision
    entry_of(host.propose("w", proposal(2)))
    assert host.refuse("w", 2, RuntimeError("late")).made_entry


@errors
def test_an_entry_of_the_host_itself_that_fails_tears_the_copy(
    host: Sequencer, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    monkeypatch.setattr(sequencer_module, "frame", failing(error))
    with pytest.raises(TornCopyError):
        host.leave("w")
    assert host.state.torn
