"""Options: where they come from, what is refused, and what the messages say."""

from __future__ import annotations

import json
import math
import pickle
import warnings
from typing import Any

import pytest

from memsync import MemSync
from memsync.errors import OptionsError, UsageError
from memsync.options import (
    Options,
    check_name,
    load_options,
    stated,
    unavailable,
)
from memsync.options.schema import camel, schema


def load(options: Any = None, **given: Any) -> Options:
    return load_options(options, **{"environ": {}, **given})


def refusal(options: Any = None, **given: Any) -> str:
    with pytest.raises(OptionsError) as caught:
        load(options, **given)
    return str(caught.value)


def value_at(options: Options, path: str) -> Any:
    value: Any = options
    for part in path.split("."):
        value = getattr(value, part)
    return value


class TestDefaults:
    def test_nothing_given_is_the_defaults(self) -> None:
        assert load() == Options()
        assert load({}) == load(None, yaml_options={}) == Options()

    def test_the_documented_ones(self) -> None:
        options = load()
        assert (options.timeout, options.conflict, options.on_max_writers) == (
            30.0,
            "timestamp",
            "raise",
        )
        assert (options.log_events, options.server_only, options.client_only) == (False,) * 3
        assert options.peer.roles == ("writer",)
        network = options.network
        assert network.max_writers is None
        assert (network.window, network.max_log, network.max_handshakes) == (1024, 10_000, 64)
        assert network.max_frame == network.max_queue == network.max_log_bytes == 64 * 2**20
        assert (network.handshake_timeout, network.poll, network.recovery) == (5.0, 1.0, 1.0)
        assert options.manager.proxies is True

    def test_every_default_passes_its_own_check(self) -> None:
        for path, spec in schema().items():
            options = load(nested(spec.group, spec.name, spec.default))
            assert value_at(options, path) == spec.default, path

    def test_options_cannot_be_changed(self) -> None:
        with pytest.raises(AttributeError):
            load().timeout = 5.0  # type: ignore[misc]  # that it is read-only is the test
        with pytest.raises(AttributeError):
            load().network.window = 5  # type: ignore[misc]  # the same


def nested(group: str | None, name: str, value: Any) -> dict[str, Any]:
    return {name: value} if group is None else {group: {name: value}}


class TestSpelling:
    @pytest.mark.parametrize("path", schema())
    def test_camel_and_snake_mean_the_same(self, path: str) -> None:
        spec = schema()[path]
        as_snake = load(nested(spec.group, spec.name, spec.default))
        as_camel = load(nested(spec.group, camel(spec.name), spec.default))
        assert stated(as_snake) == stated(as_camel) != {}

    def test_both_at_once_are_refused(self) -> None:
        message = refusal({"network": {"maxWriters": 1, "max_writers": 1}})
        assert "'maxWriters'" in message
        assert "'max_writers'" in message

    def test_different_spellings_in_different_places_override_each_other(self) -> None:
        options = load({"log_events": False}, yaml_options={"logEvents": True})
        assert options.log_events is False


class TestUnknownKeys:
    @pytest.mark.parametrize(
        ("options", "key", "nearest"),
        [
            ({"timeot": 3}, "timeot", "timeout"),
            ({"network": {"maxWriter": 1}}, "network.maxWriter", "network.maxWriters"),
            ({"network": {"max_writer": 1}}, "network.max_writer", "network.maxWriters"),
            ({"netwrok": {"maxWriters": 1}}, "netwrok", "network"),
            ({"maxWriters": 1}, "maxWriters", "network.maxWriters"),
            ({"port": 80}, "port", "server.port"),
            ({"network": {"timeout": 1}}, "network.timeout", "timeout"),
            ({"MAXWRITERS": 1}, "MAXWRITERS", "network.maxWriters"),
            ({"network.maxWriter": 1}, "network.maxWriter", "network.maxWriters"),
            ({"role": []}, "role", "peer.roles"),
            ({"server": {"max_writers": 1}}, "server.max_writers", "network.maxWriters"),
        ],
    )
    def test_named_with_the_nearest(self, options: Any, key: str, nearest: str) -> None:
        with pytest.raises(OptionsError) as caught:
            load(options)
        assert caught.value.fields == {"key": key, "nearest": nearest, "source": "options"}
        assert repr(key) in str(caught.value)
        assert repr(nearest) in str(caught.value)

    @pytest.mark.parametrize(
        "key", ["network.maxWriters", "network.max_writers", "peer.roles", "server.port"]
    )
    @pytest.mark.parametrize("group", [None, "network", "peer"])
    def test_a_dotted_key_is_shown_nested(self, group: str | None, key: str) -> None:
        with pytest.raises(OptionsError) as caught:
            load({key: 1} if group is None else {group: {key: 1}})
        outer, _, inner = key.partition(".")
        inner = "maxWriters" if inner == "max_writers" else inner
        assert f"write it as {{'{outer}': {{'{inner}': ...}}}}" in str(caught.value)
        assert "did you mean" not in str(caught.value)
        assert caught.value.fields["nearest"] is None

    @pytest.mark.parametrize("key", ["dir", "lock", "name", "data", "x", "", "öl", "token.dir"])
    def test_without_a_near_one_the_options_are_listed(self, key: str) -> None:
        message = refusal({key: 1})
        assert repr(key) in message
        assert "did you mean" not in message
        assert "the options are clientOnly, conflict, engine" in message
        assert "the options of 'manager' are proxies" in refusal({"manager": {key: 1}})
        assert "the options of 'rpc' are pickles, threads" in refusal({"rpc": {key: 1}})

    def test_a_hint_into_another_group_is_shown_nested(self) -> None:
        hint = "did you mean 'network.maxWriters', written as {'network': {'maxWriters': ...}}?"
        assert refusal({"maxWriters": 1}).endswith(hint)
        assert refusal({"network": {"maxWriter": 1}}).endswith("'network.maxWriters'?")

    def test_the_file_is_named(self) -> None:
        message = refusal(yaml_options={"timeot": 3}, source="conf/a.yaml")
        assert message.startswith("conf/a.yaml: ")

    def test_an_unknown_key_of_a_group(self) -> None:
        assert "'rpc.foo'" in refusal({"rpc": {"foo": 1}})
        assert load({"rpc": {}}) == Options()

    def test_private_names_are_no_options(self) -> None:
        assert "'_stated'" in refusal({"_stated": {}})

    @pytest.mark.parametrize("key", [1, None, True, ("a",)])
    def test_keys_that_are_no_strings(self, key: Any) -> None:
        assert repr(key) in refusal({key: 1})


class TestWrongValues:
    @pytest.mark.parametrize(
        ("options", "key", "expected"),
        [
            ({"timeout": "5"}, "timeout = '5'", "a number of seconds from 0.001 to 3600"),
            ({"timeout": True}, "timeout = True", "a number of seconds"),
            ({"timeout": None}, "timeout = None", "a number of seconds"),
            ({"timeout": 0}, "timeout = 0", "from 0.001"),
            ({"timeout": -1}, "timeout = -1", "from 0.001"),
            ({"timeout": math.nan}, "timeout = nan", "a number of seconds"),
            ({"timeout": math.inf}, "timeout = inf", "to 3600"),
            ({"timeout": 3601}, "timeout = 3601", "to 3600"),
            ({"timeout": 10**400}, "timeout = 1000", "to 3600"),
            ({"logEvents": 1}, "logEvents = 1", "true or false"),
            ({"clientOnly": "yes"}, "clientOnly = 'yes'", "true or false"),
            ({"conflict": "newest"}, "conflict = 'newest'", "'timestamp' or 'strict' or 'last'"),
            ({"conflict": "lats"}, "conflict = 'lats'", "'timestamp' or 'strict' or 'last'"),
            ({"conflict": 1}, "conflict = 1", "'timestamp' or 'strict' or 'last'"),
            ({"onMaxWriters": "ask"}, "onMaxWriters = 'ask'", "'raise' or 'wait'"),
            ({"peer": {"roles": "writer"}}, "peer.roles = 'writer'", "a list of strings"),
            ({"peer": {"roles": [1]}}, "peer.roles = [1]", "a list of strings"),
            ({"network": {"maxWriters": 0}}, "network.maxWriters = 0", "from 1, or null"),
            ({"network": {"maxWriters": True}}, "network.maxWriters = True", "a whole number"),
            ({"network": {"window": 1.0}}, "network.window = 1.0", "a whole number of writes"),
            ({"network": {"window": None}}, "network.window = None", "a whole number"),
            ({"network": {"watch": False}}, "network.watch = False", "'auto' or 'poll' or 'none'"),
            ({"network": {"maxFrame": 10}}, "network.maxFrame = 10", "from 1024 to 2147483647"),
            ({"server": {"port": 65536}}, "server.port = 65536", "to 65535, or null"),
            ({"server": {"host": 1}}, "server.host = 1", "a string"),
            ({"file": {"path": 1}}, "file.path = 1", "a string, or null"),
        ],
    )
    def test_named_with_what_is_expected(self, options: Any, key: str, expected: str) -> None:
        message = refusal(options)
        assert message.startswith(f"options: {key}")
        assert expected in message

    @pytest.mark.parametrize("group", ["network", "peer", "rpc"])
    @pytest.mark.parametrize("value", [3, "x", [], True])
    def test_groups_are_mappings(self, group: str, value: Any) -> None:
        message = refusal({group: value})
        assert group in message
        assert repr(value) in message

    def test_the_options_themselves_are_a_mapping(self) -> None:
        assert "must be a mapping" in refusal([("timeout", 3)])

    def test_an_empty_group_states_nothing(self) -> None:
        assert stated(load({"network": None, "peer": {}})) == {}

    def test_whole_numbers_serve_as_seconds(self) -> None:
        timeout = load({"timeout": 5}).timeout
        assert (timeout, type(timeout)) == (5.0, float)

    def test_a_dedicated_host_that_never_hosts_is_refused(self) -> None:
        assert "exclude each other" in refusal({"serverOnly": True, "clientOnly": True})
        with pytest.raises(OptionsError, match=r"clientOnly \(in the environment\)"):
            load_options({"serverOnly": True}, environ={"MEMSYNC_CLIENT_ONLY": "true"})
        assert load({"serverOnly": False, "clientOnly": True}).client_only


class TestTimeoutUnit:
    @pytest.mark.parametrize("milliseconds", [1000, 2000, 3000.0])
    def test_what_looks_like_milliseconds_is_warned_about(self, milliseconds: float) -> None:
        with pytest.warns(UserWarning, match="timeout is in seconds"):
            assert load({"timeout": milliseconds}).timeout == milliseconds

    @pytest.mark.parametrize("seconds", [0.5, 30, 600, 601, 999, 1001, 1500, 3600])
    def test_other_values_are_not(self, seconds: float) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert load({"timeout": seconds}).timeout == seconds

    def test_the_refusal_of_more_than_an_hour_names_the_unit(self) -> None:
        assert "the unit is seconds, did you mean 30?" in refusal({"timeout": 30_000})

    def test_other_sources_are_judged_alike(self) -> None:
        with pytest.warns(UserWarning, match="2000 looks like milliseconds"):
            load(environ={"MEMSYNC_TIMEOUT": "2000"})
        with pytest.warns(UserWarning, match="2000 looks like milliseconds"):
            load(yaml_options={"timeout": 2000})


FILE = {"timeout": 1, "network": {"window": 1, "maxWriters": 1, "maxLog": 1}}
ENVIRONMENT = {"MEMSYNC_NETWORK_WINDOW": "2", "MEMSYNC_NETWORK_MAX_WRITERS": "2"}
ARGUMENTS = {"network": {"max_writers": 3}}


class TestPrecedence:
    def test_arguments_then_environment_then_file_then_defaults(self) -> None:
        options = load(ARGUMENTS, yaml_options=FILE, environ=ENVIRONMENT)
        assert options.network.max_writers == 3
        assert options.network.window == 2
        assert (options.network.max_log, options.timeout) == (1, 1.0)
        assert options.network.max_handshakes == 64

    def test_a_stated_null_overrides_too(self) -> None:
        options = load({"network": {"maxWriters": None}}, yaml_options=FILE)
        assert options.network.max_writers is None

    def test_lists_are_replaced_and_not_merged(self) -> None:
        options = load({"peer": {"roles": []}}, yaml_options={"peer": {"roles": ["writer", "a"]}})
        assert options.peer.roles == ()


class TestEnvironment:
    @pytest.mark.parametrize(
        ("name", "text", "path", "value"),
        [
            ("MEMSYNC_TIMEOUT", "2.5", "timeout", 2.5),
            ("MEMSYNC_LOG_EVENTS", "true", "log_events", True),
            ("MEMSYNC_NETWORK_MAX_WRITERS", "4", "network.max_writers", 4),
            ("MEMSYNC_NETWORK_MAX_WRITERS", "null", "network.max_writers", None),
            ("MEMSYNC_PEER_ROLES", "[writer, indexer]", "peer.roles", ("writer", "indexer")),
            ("MEMSYNC_NETWORK_WATCH", "none", "network.watch", "none"),
            ("MEMSYNC_CONFLICT", "strict", "conflict", "strict"),
            ("MEMSYNC_SERVER_TOKEN", "0123", "server.token", "0123"),
            ("MEMSYNC_SERVER_TOKEN", "a: {b", "server.token", "a: {b"),
        ],
    )
    def test_values_are_yaml_and_strings_are_as_written(
        self, name: str, text: str, path: str, value: Any
    ) -> None:
        assert value_at(load(environ={name: text}), path) == value

    def test_no_two_options_share_a_variable(self) -> None:
        names = [spec.env for spec in schema().values()]
        assert len(set(names)) == len(names)
        assert "MEMSYNC_DIR" not in names

    @pytest.mark.parametrize("text", ["soon", "true", "[", "2024-13-45", "9999"])
    def test_wrong_values_name_the_variable(self, text: str) -> None:
        assert refusal(environ={"MEMSYNC_TIMEOUT": text}).startswith("MEMSYNC_TIMEOUT")

    def test_an_empty_variable_is_an_unset_one(self) -> None:
        assert load(environ={"MEMSYNC_TIMEOUT": "", "MEMSYNC_SERVER_TOKEN": ""}) == Options()

    def test_the_folder_and_foreign_variables_are_left_alone(self) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert load(environ={"MEMSYNC_DIR": "x", "TIMEOUT": "1", "PATH": "/"}) == Options()

    def test_unknown_variables_are_warned_about_once(self) -> None:
        environ = {"MEMSYNC_TIMOUT": "1", "MEMSYNC_WINDOWS": "2"}
        with pytest.warns(UserWarning, match="not an option of memsync") as caught:
            assert load(environ=environ) == Options()
        (warning,) = caught
        message = str(warning.message)
        assert "MEMSYNC_TIMOUT (did you mean MEMSYNC_TIMEOUT?)" in message
        assert "MEMSYNC_WINDOWS (did you mean MEMSYNC_NETWORK_WINDOW?)" in message


STATED = {
    "timeout": 5.0,
    "peer": {"roles": ["writer", "a"]},
    "network": {"maxWriters": None, "window": 7},
}


class TestStated:
    def test_only_what_was_stated_in_whatever_place(self) -> None:
        options = load(
            {"network": {"max_writers": None}},
            yaml_options={"peer": {"roles": ["writer", "a"]}, "timeout": 5},
            environ={"MEMSYNC_NETWORK_WINDOW": "7"},
        )
        assert stated(options) == STATED
        assert stated(load()) == {}

    def test_a_stated_default_counts_as_stated(self) -> None:
        assert stated(load({"timeout": 30})) == {"timeout": 30.0}

    def test_a_handle_can_be_rebuilt_from_it(self) -> None:
        options = load(STATED)
        rebuilt = load(json.loads(json.dumps(stated(options))))
        assert rebuilt == options
        assert stated(rebuilt) == stated(options)

    def test_options_pickle(self) -> None:
        options = load(STATED)
        copy = pickle.loads(pickle.dumps(options))
        assert copy == options
        assert stated(copy) == stated(options)


class TestUnavailable:
    def test_nothing_stated_nothing_missing(self) -> None:
        assert unavailable(load()) == []

    def test_what_this_version_has(self) -> None:
        given = {"timeout": 3, "logEvents": True, "clientOnly": True, "peer": {"roles": []}}
        given |= {"network": {"maxWriters": 1, "poll": 2, "watch": "none"}}
        given |= {"server": {"port": 8883, "host": "::1", "token": "x", "allowedHosts": ["box"]}}
        given |= {"manager": {"proxies": False}, "conflict": "strict", "file": {"debounce": 0}}
        assert unavailable(load(given)) == []

    def test_what_it_has_not(self, monkeypatch: pytest.MonkeyPatch) -> None:
        missing = schema()["server.port"]._replace(available=False)
        monkeypatch.setitem(schema(), "server.port", missing)
        assert unavailable(load({"server": {"port": 8883, "host": "::1"}})) == ["server.port"]
        with pytest.raises(OptionsError, match=r"not available in this version.*server\.port"):
            MemSync("foo", options={"server": {"port": 8883}}).start()


class TestNames:
    @pytest.mark.parametrize("name", ["a", "my_object", "A-1.b", "x" * 300, "0"])
    def test_good(self, name: str) -> None:
        assert check_name(name) == name

    @pytest.mark.parametrize(
        ("name", "offender"),
        [("a b", "' '"), ("a/b", "'/'"), ("Größe", "'ö'"), ("a\n", "'\\n'"), ("ＡＢ", "'Ａ'")],  # noqa: RUF001  # full-width letters are the case
    )
    def test_the_offending_character_is_named(self, name: str, offender: str) -> None:
        with pytest.raises(UsageError) as caught:
            check_name(name)
        message = str(caught.value)
        assert repr(name) in message
        assert f"contains {offender}" in message
        assert "1 to 300 characters" in message

    @pytest.mark.parametrize("name", ["", "x" * 301])
    def test_the_length_is_named(self, name: str) -> None:
        with pytest.raises(UsageError, match=f"{len(name)} characters"):
            check_name(name)

    @pytest.mark.parametrize("name", [None, 3, b"a"])
    def test_other_types(self, name: Any) -> None:
        with pytest.raises(UsageError, match="must be a string"):
            check_name(name)
