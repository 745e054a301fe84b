"""The JSON Schema for editors accepts what the loader accepts, and refuses what it refuses."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator

from memsync.cli import main
from memsync.errors import OptionsError
from memsync.options import load_options, read_config
from memsync.options.json_schema import json_schema
from memsync.options.schema import camel, schema

CONFIGS = Path(__file__).parent.parent / "configs"
FILES = sorted(CONFIGS.glob("*.yaml"))
VALIDATOR = Draft202012Validator(json_schema())


def is_valid(content: Any) -> bool:
    return not list(VALIDATOR.iter_errors(content))


def is_accepted(content: Any, path: Path) -> bool:
    path.write_text(yaml.safe_dump(content))
    try:
        config = read_config(path)
        load_options(None, yaml_options=config.options, source=config.source, environ={})
    except OptionsError:
        return False
    return True


def test_it_is_a_schema() -> None:
    Draft202012Validator.check_schema(json_schema())


def test_the_file_for_editors_is_what_the_command_prints(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["schema"]) == 0
    printed = capsys.readouterr().out
    assert json.loads(printed) == json_schema()
    assert (CONFIGS / "memsync.schema.json").read_text() == printed, (
        "the options have changed: memsync schema > configs/memsync.schema.json"
    )


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_each_shipped_file_is_valid_and_names_the_schema(path: Path) -> None:
    first, *_ = path.read_text().splitlines()
    assert first == "# yaml-language-server: $schema=memsync.schema.json"
    assert is_valid(yaml.safe_load(path.read_text()))


def test_it_has_each_option_in_both_spellings_with_its_default() -> None:
    options = json_schema()["properties"]["options"]["properties"]
    for spec in schema().values():
        place = options if spec.group is None else options[spec.group]["properties"]
        default = list(spec.default) if isinstance(spec.default, tuple) else spec.default
        for name in (spec.name, camel(spec.name)):
            assert place[name]["default"] == default
            assert is_valid(nested(spec.group, name, default))


def nested(group: str | None, name: str, value: Any) -> dict[str, Any]:
    return {"options": {name: value} if group is None else {group: {name: value}}}


GOOD: list[Any] = [
    None,
    {},
    {"name": "a.b-c_1", "data": None, "options": None},
    {"name": "x", "data": {"any": ["thing", 1.5, None]}, "options": {"network": None}},
    {"options": {"timeout": 5, "network": {"max_writers": None, "lease": 0.5}}},
    {"options": {"onMaxWriters": "wait", "peer": {"roles": []}}},
]
WRONG: list[Any] = [
    [],
    "text",
    {"option": {}},
    {"name": 7},
    {"data": [1]},
    {"options": []},
    {"options": {"netwrok": {}}},
    {"options": {"maxWriters": 1}},
    {"options": {"network": {"maxWriter": 1}}},
    {"options": {"network": {"maxWriters": 0}}},
    {"options": {"network": {"maxWriters": "2"}}},
    {"options": {"network": {"maxWriters": True}}},
    {"options": {"network": 3}},
    {"options": {"timeout": None}},
    {"options": {"timeout": 4000}},
    {"options": {"onMaxWriters": "error"}},
    {"options": {"peer": {"roles": "writer"}}},
    {"options": {"peer": {"roles": [1]}}},
    {"options": {"logEvents": "yes"}},
]


@pytest.mark.parametrize("content", GOOD, ids=repr)
def test_it_accepts_what_the_loader_accepts(content: Any, tmp_path: Path) -> None:
    assert is_valid(content)
    assert is_accepted(content, tmp_path / "memsync.yaml")


@pytest.mark.parametrize("content", WRONG, ids=repr)
def test_it_refuses_what_the_loader_refuses(content: Any, tmp_path: Path) -> None:
    assert not is_valid(content)
    assert not is_accepted(content, tmp_path / "memsync.yaml")


@pytest.mark.parametrize("name", ["", "a b", "ä", "x" * 301])
def test_it_refuses_invalid_names(name: str) -> None:
    assert not is_valid({"name": name})
