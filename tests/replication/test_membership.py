"""Membership: who takes a writer's place, and when there is none left (G8)."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memsync.errors import MaxWritersError, ProtocolError
from memsync.manager.transport.messages import Hello
from memsync.replication.membership import (
    check_peer_id,
    check_room,
    let_in,
    standing_by,
    stands_by,
    writer_limit,
    writers,
)


def member(
    peer: str, limit: int | None = None, roles: tuple[str, ...] = ("writer",)
) -> dict[str, Any]:
    """A member as the group remembers it."""
    return Hello(1, "obj", peer, 7, list(roles), 0, 0, 1, max_writers=limit).member()


def group(*members: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Members by their ids."""
    return {each["id"]: each for each in members}


@pytest.mark.parametrize("peer", ["0" * 16, "0123456789abcdef"])
def test_an_id_is_16_hexadecimal_digits(peer: str) -> None:
    check_peer_id(peer)


@pytest.mark.parametrize(
    "peer",
    ["", "a", "0" * 15, "0" * 17, "G" * 16, "../../../../etc/x", "0" * 15 + "\n", "0" * 9999],
)
def test_what_is_no_id_is_refused_before_it_becomes_part_of_a_path(peer: str) -> None:
    with pytest.raises(ProtocolError, match="16 hexadecimal digits"):
        check_peer_id(peer)


def test_a_member_is_remembered_with_all_that_others_may_want_to_know() -> None:
    hello = Hello(1, "obj", "ab", 7, ["writer"], 2, 3, 4, True, 5, ["m"])
    assert hello.member() == {
        "id": "ab",
        "pid": 7,
        "since": 0.0,
        "roles": ["writer"],
        "waitsFor": None,
        "methods": ["m"],
        "maxWriters": 5,
        "clientOnly": True,
        "serverOnly": False,
    }


def test_the_smallest_limit_that_anybody_states_counts() -> None:
    assert writer_limit(group(member("a"), member("b", 5), member("c", 3, ()))) == 3
    assert writer_limit(group(member("a"))) is None
    assert writer_limit({}) is None


def test_readers_take_no_place() -> None:
    members = group(member("a"), member("b", roles=()), member("c", roles=("other",)))
    assert [each["id"] for each in writers(members)] == ["a"]


def test_without_a_limit_there_is_always_room() -> None:
    check_room(group(*(member(f"p{i}") for i in range(100))), member("new"))


def test_with_a_limit_the_last_place_can_be_taken_and_no_more() -> None:
    check_room(group(member("a", 2)), member("new"))
    with pytest.raises(MaxWritersError, match=r"maxWriters is 2.*process 7 \(peer a\)") as caught:
        check_room(group(member("a", 2), member("b")), member("new"))
    assert "peer b" in str(caught.value)
    assert "peer.roles" in str(caught.value)


def test_a_reader_fits_into_a_full_group() -> None:
    check_room(group(member("a", 1)), member("new", roles=()))


def test_a_newcomer_whose_own_limit_is_below_the_writers_present_is_the_one_refused() -> None:
    members = group(member("a"), member("b"))
    for roles in (("writer",), ()):
        with pytest.raises(MaxWritersError):
            check_room(members, member("new", 1, roles))
    check_room(members, member("new", 2, ()))


def test_who_is_a_member_already_does_not_count_twice() -> None:
    check_room(group(member("a", 1)), member("a", 1))


@given(
    st.lists(st.tuples(st.none() | st.integers(1, 4), st.booleans()), max_size=12),
)
def test_admitting_one_after_the_other_never_exceeds_any_members_limit(
    newcomers: list[Any],
) -> None:
    members: dict[str, dict[str, Any]] = {}
    for number, (limit, writes) in enumerate(newcomers):
        newcomer = member(f"p{number}", limit, ("writer",) if writes else ())
        try:
            check_room(members, newcomer)
        except MaxWritersError:
            continue
        members[newcomer["id"]] = newcomer
    limit = writer_limit(members)
    assert limit is None or len(writers(members)) <= limit


def test_one_that_stands_by_has_no_place_and_no_limit() -> None:
    waiting = standing_by(member("b", 1))
    members = group(member("a", 2), waiting)
    assert stands_by(waiting)
    assert not stands_by(members["a"])
    assert [each["id"] for each in writers(members)] == ["a"]
    assert writer_limit(members) == 2
    check_room(members, member("c"))
    with pytest.raises(MaxWritersError):
        check_room(members, let_in(waiting, 1.0))  # its limit is one
    assert let_in(waiting, 5.0) == {**member("b", 1), "since": 5.0}


def test_a_reader_may_stand_by_for_its_limit() -> None:
    waiting = standing_by(member("b", 1, ()))
    assert stands_by(waiting)
    assert let_in(waiting, 1.0)["roles"] == []
    check_room(group(member("a")), let_in(waiting, 1.0))


def test_the_error_tells_people_and_programs_who_is_there_and_since_when() -> None:
    members = group(let_in(member("a", 2), 1_700_000_000.9), member("b"))
    with pytest.raises(MaxWritersError) as caught:
        check_room(members, member("c"))
    assert "process 7 (peer a, since 2023-11-14 22:13:20 UTC), process 7 (peer b):" in str(
        caught.value
    )
    assert caught.value.limit == 2
    assert caught.value.holders == [
        {"id": "a", "pid": 7, "since": 1_700_000_000.9},
        {"id": "b", "pid": 7, "since": 0.0},
    ]
