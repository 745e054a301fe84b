"""How values travel: which of them as JSON, and what is refused, and why."""

from __future__ import annotations

import collections
import enum
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memsync.errors import NotSerializableError
from memsync.rpc.messages import Payload
from memsync.rpc.pickles import Pickles, UnpackError, cut, here, is_json

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


class Color(enum.StrEnum):
    RED = "red"


@settings(max_examples=50)
@given(JSON)
def test_json_values_come_back_without_a_pickle(value: Any) -> None:
    payload = Pickles(False).pack(value, "it")
    assert payload.pickled_by == ""
    found = Pickles(False).unpack(payload)
    assert repr(found) == repr(value)  # -0.0, True and 1.0 included


@pytest.mark.parametrize(
    "value",
    [
        Color.RED,
        True,
        collections.OrderedDict(a=1),
        [Color.RED],
        {Color.RED: 1},
        (1,),
        2**64,
        float("nan"),
        "\udc80",
        {"\udc80": 1},
    ],
    ids=repr,
)
def test_what_json_would_change_is_pickled(value: Any) -> None:
    payload = Pickles(True).pack(value, "it")
    assert is_json(value) is (payload.pickled_by == "") is (value is True)
    found = Pickles(True).unpack(payload)
    assert type(found) is type(value)
    assert repr(found) == repr(value)


def test_too_deep_and_circular_values() -> None:
    deep: list[Any] = []
    for _ in range(150):
        deep = [deep]
    assert not is_json(deep)
    circle: list[Any] = []
    circle.extend([circle, circle])
    assert not is_json(circle)
    found = Pickles(True).unpack(Pickles(True).pack(circle, "it"))
    assert found[0] is found


def test_what_cannot_be_pickled_is_named() -> None:
    with pytest.raises(NotSerializableError, match=r"the result of 'f' cannot be pickled"):
        Pickles(True).pack(
            object.__new__(type("Odd", (), {"__reduce__": None})), "the result of 'f'"
        )


def test_a_pickle_has_the_versions_that_wrote_it() -> None:
    python = here().split()[0]
    assert Pickles(True).pack((1,), "it").pickled_by == python
    assert Pickles(True).pack(lambda: 1, "it").pickled_by == here()


def test_a_function_of_another_python_is_refused_before_it_is_loaded() -> None:
    function = Pickles(True).pack(lambda: 1, "it")
    foreign = Payload(function.data, "2.7 3.1")
    with pytest.raises(UnpackError, match=r"written by Python 2\.7 with cloudpickle 3\.1; here"):
        Pickles(True).unpack(foreign)
    data = Pickles(True).pack((1,), "it")
    assert Pickles(True).unpack(Payload(data.data, "2.7")) == (1,)


def test_another_cloudpickle_is_named_where_it_fails() -> None:
    broken = Payload(b"\x80\x05cos\nno_such_name\n.", f"{here().split()[0]} 0.1")
    with pytest.raises(UnpackError, match=r"loading the pickle raised .* with cloudpickle 0\.1"):
        Pickles(True).unpack(broken)


class Raising:
    def __init__(self, kind: type[BaseException]) -> None:
        self.kind = kind

    def __reduce__(self) -> Any:
        return _raise, (self.kind,)


def _raise(kind: type[BaseException]) -> None:
    raise kind("loaded")


@pytest.mark.parametrize("kind", [ValueError, SystemExit, GeneratorExit])
def test_whatever_a_pickle_raises_is_an_unpack_error(kind: type[BaseException]) -> None:
    payload = Pickles(True).pack(Raising(kind), "it")
    with pytest.raises(UnpackError, match=f"loading the pickle raised {kind.__name__}: loaded"):
        Pickles(True).unpack(payload)


def test_ctrl_c_while_a_pickle_is_loaded_is_ctrl_c() -> None:
    payload = Pickles(True).pack(Raising(KeyboardInterrupt), "it")
    with pytest.raises(KeyboardInterrupt):
        Pickles(True).unpack(payload)


def test_without_pickles_none_is_loaded() -> None:
    payload = Pickles(True).pack((1,), "it")
    with pytest.raises(UnpackError, match=r"rpc\.pickles is false in the process that reads it"):
        Pickles(False).unpack(payload)


@pytest.mark.parametrize("data", [b"", b"\xc1", b"\x92\x01", b"\xa2\xff\xfe"])
def test_broken_messagepack_is_an_unpack_error(data: bytes) -> None:
    with pytest.raises(UnpackError, match="no MessagePack"):
        Pickles(True).unpack(Payload(data))


@pytest.mark.parametrize(
    ("text", "found"),
    [("short", "short"), ("x" * 30, "xxxxx... 20 characters ...xxxxx"), ("\udc80", "\\udc80")],
)
def test_texts_are_cut(text: str, found: str) -> None:
    assert cut(text, 10) == found
