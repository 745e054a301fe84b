"""The tree of errors: the table of classes, and how they travel between processes."""

from __future__ import annotations

import builtins
import json
import pickle

import pytest

from memsync.errors import MemErrors, MemSyncError, from_wire, to_wire

# class: (also a, code, outcome, named attributes)
TABLE: dict[str, tuple[type[BaseException], str, str, str]] = {
    "UsageError": (ValueError, "ERR_USAGE", "not_applied", ""),
    "OptionsError": (ValueError, "ERR_OPTIONS", "not_applied", ""),
    "NotStartedError": (MemSyncError, "ERR_NOT_STARTED", "not_applied", ""),
    "UpdateError": (ValueError, "ERR_UPDATE", "not_applied", "kind server_code path"),
    "NotSerializableError": (TypeError, "ERR_NOT_SERIALIZABLE", "not_applied", "path"),
    "TooLargeError": (MemSyncError, "ERR_TOO_LARGE", "not_applied", ""),
    "ReadOnlyError": (PermissionError, "ERR_READ_ONLY", "not_applied", ""),
    "MaxWritersError": (MemSyncError, "ERR_MAX_WRITERS", "not_applied", ""),
    "ConflictError": (MemSyncError, "ERR_CONFLICT", "not_applied", "path version value patches"),
    "ConditionError": (MemSyncError, "ERR_CONDITION", "not_applied", "version value"),
    "QueueFullError": (MemSyncError, "ERR_QUEUE_FULL", "not_applied", ""),
    "LockLostError": (MemSyncError, "ERR_LOCK_LOST", "not_applied", ""),
    "WriteTimeoutError": (TimeoutError, "ERR_WRITE_TIMEOUT", "unknown", ""),
    "WriteConcernError": (TimeoutError, "ERR_WRITE_CONCERN", "applied", "version wanted reached"),
    "LockTimeoutError": (TimeoutError, "ERR_LOCK_TIMEOUT", "not_applied", ""),
    "WaitTimeoutError": (TimeoutError, "ERR_WAIT_TIMEOUT", "not_applied", ""),
    "NoSuchMethodError": (LookupError, "ERR_NO_METHOD", "not_applied", ""),
    "RpcError": (MemSyncError, "ERR_RPC", "applied", "remote_type remote_traceback"),
    "RpcTimeoutError": (TimeoutError, "ERR_RPC_TIMEOUT", "unknown", "peer method seconds"),
    "PeerLostError": (
        ConnectionError,
        "ERR_PEER_LOST",
        "unknown",
        "peer pid method arguments seconds",
    ),
    "RendezvousError": (MemSyncError, "ERR_RENDEZVOUS", "not_applied", ""),
    "HostUnresponsiveError": (TimeoutError, "ERR_HOST_UNRESPONSIVE", "not_applied", "pid"),
    "ProtocolError": (MemSyncError, "ERR_PROTOCOL", "not_applied", ""),
    "AuthenticationFailedError": (MemSyncError, "ERR_AUTH", "not_applied", ""),
    "StorageError": (OSError, "ERR_STORAGE", "not_applied", ""),
}
CLASSES = {cls.__name__: cls for cls in MemSyncError.__subclasses__()}
FIELDS = {"path": "a.b", "version": 7, "value": {"x": [1]}, "pid": 12}


def test_the_table_is_the_whole_tree() -> None:
    assert CLASSES.keys() == TABLE.keys()
    assert all(not cls.__subclasses__() for cls in CLASSES.values())


@pytest.mark.parametrize("name", TABLE)
def test_bases_code_outcome_and_attributes(name: str) -> None:
    also, code, outcome, attributes = TABLE[name]
    error = CLASSES[name]("what happened")
    assert isinstance(error, also)
    assert error.code is MemErrors[code]
    assert error.outcome == outcome
    assert str(error) == "what happened"
    for attribute in attributes.split():
        assert hasattr(error, attribute)
        assert getattr(CLASSES[name]("x", **{attribute: "given"}), attribute) == "given"


def test_every_code_belongs_to_one_class_and_is_its_own_name() -> None:
    assert sorted(cls.code for cls in CLASSES.values()) == sorted(MemErrors)
    for code in MemErrors:
        assert code.value == code.name == str(code) == f"{code}"


def test_no_name_hides_a_builtin() -> None:
    assert not CLASSES.keys() & vars(builtins).keys()


def test_the_base_cannot_be_raised() -> None:
    with pytest.raises(TypeError, match="abstract"):
        MemSyncError("x")


@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("name", TABLE)
def test_errors_pickle_with_their_fields(name: str, protocol: int) -> None:
    error = CLASSES[name]("what happened", **FIELDS)
    copy = pickle.loads(pickle.dumps(error, protocol))
    assert type(copy) is CLASSES[name]
    assert (str(copy), copy.fields) == ("what happened", FIELDS)


@pytest.mark.parametrize("name", TABLE)
def test_errors_travel_as_json(name: str) -> None:
    error = CLASSES[name]("what happened", **FIELDS)
    copy = from_wire(json.loads(json.dumps(to_wire(error))))
    assert type(copy) is CLASSES[name]
    assert (str(copy), copy.fields) == ("what happened", FIELDS)
    assert copy.outcome == error.outcome


def test_fields_are_what_was_given_and_nothing_else() -> None:
    error = CLASSES["UpdateError"]("x", path="a")
    error.add_note("a note is no field")
    error._private = 1  # type: ignore[attr-defined]  # neither is what others attach
    assert error.fields == {"path": "a"}
    assert CLASSES["UpdateError"]().fields == {}
