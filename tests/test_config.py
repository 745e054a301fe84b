"""Configuration files: what is read, what is refused, and that the shipped ones run."""

from __future__ import annotations

from pathlib import Path

import pytest

from memsync.errors import OptionsError
from memsync.options import Config, Options, check_name, load_options, read_config, unavailable
from memsync.options.schema import schema

CONFIGS = Path(__file__).parent.parent / "configs"


def load(config: Config) -> Options:
    return load_options(None, yaml_options=config.options, source=config.source, environ={})


class TestConfigFiles:
    @pytest.fixture
    def path(self, tmp_path: Path) -> Path:
        return tmp_path / "memsync.yaml"

    def refusal(self, path: Path, text: str | bytes) -> str:
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        with pytest.raises(OptionsError) as caught:
            read_config(path)
        assert str(caught.value).startswith(str(path))
        return str(caught.value)[len(str(path)) :]

    def test_all_three_keys(self, path: Path) -> None:
        path.write_text("name: a\ndata: {x: [1, 2.5, null, true, ä]}\noptions: {timeout: 5}\n")
        assert read_config(path) == (
            "a",
            {"x": [1, 2.5, None, True, "ä"]},
            {"timeout": 5},
            str(path),
        )

    @pytest.mark.parametrize("text", ["", "# nothing\n", "{}"])
    def test_an_empty_file_states_nothing(self, path: Path, text: str) -> None:
        path.write_text(text)
        assert read_config(str(path)) == (None, None, None, str(path))

    def test_unknown_key(self, path: Path) -> None:
        message = self.refusal(path, "name: a\noption: {}\n")
        assert "'option'" in message
        assert "did you mean 'options'?" in message

    def test_missing_file_and_folder(self, path: Path) -> None:
        for missing in (path, path.parent):
            with pytest.raises(OptionsError, match="cannot be read") as caught:
                read_config(missing)
            assert str(missing) in str(caught.value)

    @pytest.mark.parametrize(
        ("text", "line"),
        [
            ("name: a\ndata: [1\n", 3),
            ("name: a\n\tdata: 1\n", 2),
            ("a: *nowhere\n", 1),
            ("name: a\n---\nname: b\n", 2),
            ("data: !!python/object:os.system {}\n", 1),
            ("name: a\ndata: \x01\n", 2),
            (b"name: a\ndata: \xff\n", 2),
        ],
    )
    def test_broken_yaml_names_the_line(self, path: Path, text: str | bytes, line: int) -> None:
        assert self.refusal(path, text).startswith(f", line {line}: ")

    @pytest.mark.parametrize(
        "text",
        ["data: {a: 2024-13-45}", "data: !!timestamp x", "data: !!bool x", "data: " + "[" * 9999],
    )
    def test_values_that_python_cannot_build(self, path: Path, text: str) -> None:
        assert "broken YAML" in self.refusal(path, text)

    @pytest.mark.parametrize("text", ["- a\n", "just text\n", "3\n"])
    def test_no_mapping(self, path: Path, text: str) -> None:
        assert "expected a mapping" in self.refusal(path, text)

    @pytest.mark.parametrize(
        ("text", "words"),
        [
            ("name: 2024\n", "put it in quotes"),
            ("data: [1]\n", "data must be a mapping"),
            ("options: 3\n", "options must be a mapping"),
            ("data: {a: {b: [0, 2024-01-01]}}\n", "data.a.b.1 is datetime.date(2024, 1, 1)"),
            ("data: {a: 2024-01-01 10:00:00}\n", "data.a is datetime.datetime"),
            ("data: {a: !!set {x, y}}\n", "data.a is {"),
            ("data: {a: !!binary aGk=}\n", "data.a is b'hi'"),
            ("data: {a: .nan}\n", "data.a is nan"),
            ("data: {a: {1: x}}\n", "data.a has the key 1"),
            ("data: {a: {on: x}}\n", "data.a has the key True"),
            ("data: &all {a: *all}\n", "nested deeper than 100"),
        ],
    )
    def test_what_json_cannot_hold_names_its_path(self, path: Path, text: str, words: str) -> None:
        assert words in self.refusal(path, text)

    def test_options_of_a_file_are_refused_in_its_name(self, path: Path) -> None:
        path.write_text("options:\n  network: {maxWriter: 1}\n")
        config = read_config(path)
        with pytest.raises(OptionsError) as caught:
            load(config)
        message = str(caught.value)
        assert message.startswith(f"{path}: ")
        assert "'network.maxWriters'" in message


class TestShippedConfigs:
    def test_default_states_every_available_option_with_its_default(self) -> None:
        config = read_config(CONFIGS / "default.yaml")
        options = load(config)
        assert options == Options()
        available = {path for path, spec in schema().items() if spec.available}
        assert options._stated.keys() == available

    def test_single_writer(self) -> None:
        config = read_config(CONFIGS / "single-writer.yaml")
        options = load(config)
        assert options.network.max_writers == 1

    @pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.yaml")), ids=lambda path: path.name)
    def test_they_run_as_they_are(self, path: Path) -> None:
        config = read_config(path)
        assert config.name is not None
        check_name(config.name)
        assert unavailable(load(config)) == []

    @pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.yaml")), ids=lambda path: path.name)
    def test_every_key_is_commented(self, path: Path) -> None:
        for line in path.read_text().splitlines():
            key, _, rest = line.partition(":")
            if not line.strip() or line.lstrip().startswith("#") or key.lstrip() == "status":
                continue
            is_group = not rest.strip()
            assert is_group or "#" in rest, f"{path.name}: {line!r} says nothing of its meaning"
