"""The attributes of a handle, whatever its engine: `data` before the start, and the others."""

from __future__ import annotations

import inspect
import pickle
from collections.abc import Callable
from typing import Any

import pytest

from memsync import MemSync, NotStartedError
from memsync.document import ReadOnlyDict


def handle(**data: Any) -> MemSync[Any]:
    return MemSync("obj", data, engine="memory")


def missing(read: Callable[[], object]) -> str:
    """The message of the `AttributeError` that `read` raises."""
    with pytest.raises(AttributeError) as caught:
        read()
    return str(caught.value)


def test_data_is_known_to_the_class_and_documented() -> None:
    assert "read-only" in (inspect.getdoc(MemSync.data) or "")  # type: ignore[misc]
    for each in (MemSync, handle()):
        assert "data" in dir(each)


def test_data_raises_before_the_first_start_and_stays_readable_after_a_stop() -> None:
    mem = handle(n=1)
    with pytest.raises(NotStartedError, match=r"start\(\)"):
        _ = mem.data
    with mem:
        assert type(mem.data) is ReadOnlyDict
        data = mem.data
        mem.patch({"$inc": {"n": 1}})
        assert mem.data is data
    assert mem.data == {"n": 2}
    with mem:
        assert mem.data == {"n": 1}
        assert mem.data is not data


def test_data_cannot_be_replaced() -> None:
    mem = handle(n=1)
    for _ in range(2):  # before the start, and after it
        with pytest.raises(TypeError, match=r"mem\.patch"):
            mem.data = {"n": 2}
        mem.start()
    assert mem.data == {"n": 1}
    mem.stop()


def test_an_unpickled_handle_joins_when_its_data_is_read_first() -> None:
    with handle(n=1) as mem:
        copy = pickle.loads(pickle.dumps(mem))
        assert copy.get_status()["status"] == "stopped"
        assert copy.data == {"n": 1}
        assert copy.get_status()["status"] == "host"  # the peer of the original
        copy.stop()


def test_a_missing_attribute_is_named_as_python_does() -> None:
    mem = handle()
    for name in ("dat", "_nothing", "patches"):
        message = missing(lambda name=name: getattr(mem, name))  # type: ignore[misc]
        assert message == f"'MemSync' object has no attribute {name!r}"
    assert not hasattr(mem, "dat")


def test_an_error_inside_a_property_of_a_subclass_is_not_hidden() -> None:
    class Counter(MemSync[Any]):
        @property
        def first(self) -> Any:
            return [].nothing  # type: ignore[attr-defined]

    mem = Counter("obj", {}, engine="memory")
    assert "'list' object" in missing(lambda: mem.first)


def test_a_handle_keeps_its_attributes_in_slots_and_those_of_programs_in_its_dict() -> None:
    with handle() as mem:
        assert vars(mem) == {}
        vars(mem)["mine"] = 1
        assert mem.mine == 1  # type: ignore[attr-defined]
