"""The options: their schema, the sources of their values, and checks of arguments."""

from .hints import names_options
from .load import (
    check_name,
    check_name_in,
    check_path,
    check_timeout,
    load_options,
    stated,
    unavailable,
)
from .schema import Options, OptionSpec
from .yaml_file import Config, read_config

__all__ = [
    "Config",
    "OptionSpec",
    "Options",
    "check_name",
    "check_name_in",
    "check_path",
    "check_timeout",
    "load_options",
    "names_options",
    "read_config",
    "stated",
    "unavailable",
]
