"""Options of the whole group: their effect must not change with the host.

The founder's values apply to the group and are part of the replicated state. A peer that states
another value is refused; a peer that states none gets the group's.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..errors import OptionsError
from ..options.schema import schema

GROUP_OPTIONS = (
    *("conflict", "file.debounce", "file.fencing", "file.journal", "file.path", "journal.keep"),
    *("network.lease", "network.max_frame", "network.max_index"),
)
"""The group's options, by their path in the schema."""

Stated = Mapping[str, Any]
"""The options that a peer states, as from `options.stated`: ``{"network": {"maxFrame": 4096}}``."""


def group_value(founder: Stated, option: str) -> Any:
    """The group's value of an option: what the founder stated, else the default.

    >>> group_value({"network": {"maxFrame": 4096}}, "network.max_frame")
    4096
    """
    value = _stated_value(founder, option)
    return schema()[option].default if value is None else value


def group_part(stated: Stated) -> dict[str, Any]:
    """The group's options among the stated ones, by the keys that users write.

    >>> group_part({"timeout": 5, "network": {"maxFrame": 4096, "poll": 2}})
    {'network.maxFrame': 4096}
    """
    values = {schema()[option].key: _stated_value(stated, option) for option in GROUP_OPTIONS}
    return {key: value for key, value in values.items() if value is not None}


def check_group_options(founder: Stated, joiner: Mapping[str, Any]) -> None:
    """Raise `OptionsError` when a joiner (see `group_part`) states a value that is not the group's.

    >>> check_group_options({"network": {"maxFrame": 4096}}, {})
    >>> check_group_options({}, {"network.maxFrame": 4096})  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    memsync.errors.OptionsError: network.maxFrame is 67108864 in this group, ...
    """
    for option in GROUP_OPTIONS:
        key = schema()[option].key
        value = group_value(founder, option)
        if key in joiner and joiner[key] != value:
            raise OptionsError(
                f"{key} is {value!r} in this group, not "
                f"{joiner[key]!r}: leave it out to take the group's value, or stop all peers and "
                "start them with one value",
                key=key,
            )


def _stated_value(stated: Stated, option: str) -> Any:
    spec = schema()[option]
    group = stated if spec.group is None else stated.get(spec.group, {})
    return group.get(spec.key.rpartition(".")[2])
