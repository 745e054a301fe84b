"""What calls look like on a connection."""

from __future__ import annotations

import msgspec
import pytest

from memsync.errors import ProtocolError, TooLargeError
from memsync.rpc.messages import (
    Call,
    Cancel,
    Credit,
    End,
    Failure,
    Frame,
    Item,
    Message,
    Payload,
    Progress,
    Result,
    Streaming,
    Twin,
    decode,
    encode,
)

TWIN = Twin("builtins.ValueError", "no", ["a note"], [Frame("f.py", "f", 1)], "text", None)
MESSAGES = [
    Call(1, "math.add", Payload(b"\x92\x90\x80"), 500, False, 3, 17, 2),
    Streaming(1),
    Item(1, Payload(b"\x01", "3.11")),
    End(1),
    Result(1, Payload(b"\x01")),
    Failure(1, msgspec.structs.replace(TWIN, cause=TWIN, members=[TWIN, TWIN])),
    Failure(1, None, ["ERR_NO_METHOD", "none", {}]),
    Progress(1, 3, 7, "three of seven"),
    Credit(1, 8),
    Cancel(1),
]


@pytest.mark.parametrize("message", MESSAGES, ids=lambda message: type(message).__name__)
def test_each_message_comes_back_as_it_was(message: Message) -> None:
    assert decode(encode(message, 1000)) == message


@pytest.mark.parametrize("data", [b"", b"\xc1", b"\x93\x01\x02\x03", b"\x92\x63\x01", b"GET / "])
def test_garbage_is_a_protocol_error(data: bytes) -> None:
    with pytest.raises(ProtocolError, match="no memsync message"):
        decode(data)


def test_a_message_over_the_limit_names_the_limit() -> None:
    with pytest.raises(TooLargeError, match=r"a Result .* over network.maxFrame \(1000\)"):
        encode(Result(1, Payload(bytes(1000))), 1000)
