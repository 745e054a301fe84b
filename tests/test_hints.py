"""Mistakes with options that are not keys: variables, roles, arguments of a handle."""

from __future__ import annotations

import inspect
import pathlib
import warnings
from typing import Any

import pytest

from memsync import MemSync, OptionsError, UsageError

NEAR_VARIABLES = {
    "MEMSYNC_TIMOUT": "MEMSYNC_TIMEOUT",
    "MEMSYNC_MAX_WRITERS": "MEMSYNC_NETWORK_MAX_WRITERS",
    "MEMSYNC_NETWORK_MAXWRITERS": "MEMSYNC_NETWORK_MAX_WRITERS",
    "MEMSYNC_network_spin": "MEMSYNC_NETWORK_SPIN",
    "MEMSYNC_DIRS": "MEMSYNC_DIR",
    "MEMSYNC_DIRECTORY": "MEMSYNC_DIR",
    "MEMSYNC_DIR_PATH": "MEMSYNC_DIR",
    "MEMSYNC_TIMEOUT_MS": "MEMSYNC_TIMEOUT",
    "MEMSYNC_NETWORK_POLL_SECONDS": "MEMSYNC_NETWORK_POLL",
    "MEMSYNC_ROLES": "MEMSYNC_PEER_ROLES",
}


def warning_of(*args: Any, **kwargs: Any) -> str:
    """The one warning about a new handle, which names the line that makes it."""
    with pytest.warns(UserWarning, match="memsync|writer") as caught:
        MemSync(*args, engine="memory", **kwargs)
    (warning,) = caught
    assert warning.filename == __file__
    return str(warning.message)


@pytest.mark.parametrize("name", NEAR_VARIABLES)
def test_a_variable_is_near_another_one(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(name, "5")
    assert f"{name} (did you mean {NEAR_VARIABLES[name]}?)" in warning_of("x")


@pytest.mark.parametrize("name", ["MEMSYNC_NAME", "MEMSYNC_LOCK", "MEMSYNC_HOME", "MEMSYNC_"])
def test_a_variable_that_is_near_none_gets_no_hint(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv(name, "5")
    assert warning_of("x") == f"ignored, not an option of memsync: {name}"


@pytest.mark.parametrize("role", ["wirter", "Writer", "WRITER", "write", "writers", "writr"])
def test_a_role_that_is_nearly_writer_is_warned_about(role: str) -> None:
    message = warning_of("x", options={"peer": {"roles": [role]}})
    assert repr(role) in message
    assert "did you mean 'writer'?" in message


def test_a_role_from_the_environment_is_warned_about(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MEMSYNC_PEER_ROLES", "[wirter]")
    assert "'wirter'" in warning_of("x")


@pytest.mark.parametrize("roles", [[], ["writer"], ["reader"], ["admin", "writer"], ["driver"]])
def test_other_roles_are_left_alone(roles: list[str]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        MemSync("x", options={"peer": {"roles": roles}}, engine="memory")


ARGUMENTS = {
    "network": "write options={'network': {...}}",
    "peer": "write options={'peer': {...}}",
    "timeout": "write options={'timeout': ...}",
    "clientOnly": "write options={'clientOnly': ...}",
    "client_only": "write options={'clientOnly': ...}",
    "maxWriters": "write options={'network': {'maxWriters': ...}}",
    "max_writers": "write options={'network': {'maxWriters': ...}}",
    "roles": "write options={'peer': {'roles': ...}}",
    "option": "did you mean 'options'?",
    "egnine": "did you mean 'engine'?",
    "dat": "did you mean 'data'?",
    "folder": "give one of name, data, options, engine, rpc",
}


@pytest.mark.parametrize("argument", ARGUMENTS)
def test_an_option_among_the_arguments_is_named(argument: str, tmp_path: pathlib.Path) -> None:
    wrong: Any = {argument: {"x": 1}}
    with pytest.raises(UsageError, match=f"no argument '{argument}'") as caught:
        MemSync("x", **wrong)
    assert ARGUMENTS[argument] in str(caught.value)
    with pytest.raises(UsageError, match=f"no argument '{argument}'"):
        MemSync[Any]("x", **wrong)
    file = tmp_path / "config.yaml"
    file.write_text("name: x\n")
    with pytest.raises(UsageError, match=f"no argument '{argument}'"):
        MemSync.from_config(file, **wrong)


def test_the_signature_stays_the_one_that_is_documented() -> None:
    assert list(inspect.signature(MemSync).parameters) == [
        *("name", "data", "options", "engine", "rpc")
    ]
    assert list(inspect.signature(MemSync.from_config).parameters) == [
        *("path", "name", "data", "options", "engine", "rpc")
    ]


@pytest.mark.parametrize("key", ["Network", "network", "peer", "Peers"])
def test_a_group_is_never_meant_inside_of_a_group(key: str) -> None:
    with pytest.raises(OptionsError, match="the options of 'network' are maxWriters") as caught:
        MemSync("x", options={"network": {key: {}}})
    assert caught.value.fields["nearest"] is None
