"""The options: their schema, where their values come from, and checks of arguments."""

from .load import (
    Config,
    Options,
    OptionSpec,
    check_name,
    check_path,
    check_timeout,
    load_options,
    read_config,
    stated,
    unavailable,
)

__all__ = [
    "Config",
    "OptionSpec",
    "Options",
    "check_name",
    "check_path",
    "check_timeout",
    "load_options",
    "read_config",
    "stated",
    "unavailable",
]
