"""What a selector looks for on a channel."""

from __future__ import annotations

import selectors

from ..transport.channel import Channel


def change_interest(
    selector: selectors.BaseSelector, channel: Channel, old: int, new: int, data: object = None
) -> int:
    """Change the mask of events for a channel, where 0 is none; returns the new mask."""
    if old == new:
        return new
    if not old:
        selector.register(channel, new, data)
    elif not new:
        selector.unregister(channel)
    else:
        selector.modify(channel, new, data)
    return new
