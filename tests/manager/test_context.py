"""What the roles of a peer share is fixed, but for the fields that say who sets them."""

from __future__ import annotations

from pathlib import Path

import pytest

from memsync.manager.context import PeerContext, Stopped
from memsync.testing import NAME

from .builders import new_context


def test_the_fields_are_fixed_but_for_the_mutable_ones(folder: Path) -> None:
    with new_context(folder) as ctx:
        fixed = vars(ctx).keys() - PeerContext.MUTABLE
        assert {"participant", "platform", "place", "waker", "timing", "states", "lease"} <= fixed
        for name in fixed:
            value = getattr(ctx, name)
            with pytest.raises(AttributeError, match=f"{name} is fixed when the peer starts"):
                setattr(ctx, name, None)
            assert getattr(ctx, name) is value
        for name in PeerContext.MUTABLE:
            setattr(ctx, name, 1)
            assert getattr(ctx, name) == 1


def test_a_peer_that_is_to_end_leaves_its_waits(folder: Path) -> None:
    with new_context(folder) as ctx:
        ctx.check_stop()
        ctx.stopping = True
        with pytest.raises(Stopped):
            ctx.check_stop()


def test_a_peer_states_its_options_until_it_holds_an_object(folder: Path) -> None:
    with new_context(folder) as ctx:
        assert (ctx.hello().name, ctx.hello().peer) == (NAME, "me")
        assert (ctx.hello().epoch, ctx.hello().version, ctx.hello().cluster_id) == (0, 0, "")
        ctx.participant.bootstrap("one")
        assert ctx.hello().options == {}
        assert ctx.hello().member()["id"] == "me"
