"""Each mistake in a file is an `OptionsError` with facts for programs."""

from __future__ import annotations

from pathlib import Path

import pytest

from memsync import MemSync, OptionsError


@pytest.mark.parametrize(
    ("text", "key", "nearest", "words"),
    [
        ("[]", None, None, "expected a mapping"),
        ("name: 3", "name", None, "put it in quotes"),
        ("data: {}", "name", None, "'name' is missing"),
        ("name: ''", "name", None, "has 0 characters"),
        ("name: a/b", "name", None, "contains '/'"),
        ("name: a\nname: b", None, None, "line 2: broken YAML: duplicate key 'name'"),
        ("name: a\ndata: 3", "data", None, "data must be a mapping"),
        ("name: a\ndata: {n: [9223372036854775808]}", None, None, "data.n.0 = 9223372036854775808"),
        ("name: a\ndata: {n: -9223372036854775809}", None, None, "data.n = -9223372036854775809"),
        ("name: a\ndata: {1: x}", None, None, "the key 1"),
        ("name: a\noptions: 3", "options", None, "options must be a mapping"),
        ("name: a\noptions: {network: 1}", "network", None, "network must be a mapping"),
        ("name: a\noptions: {network: {1: 1}}", "network.1", None, "must be strings"),
        (
            "name: a\noptions: {network: {maxWriters: 1, max_writers: 1}}",
            "network.max_writers",
            None,
            "the same option",
        ),
        ("name: a\noptions: {serverOnly: on, clientOnly: on}", "clientOnly", None, "exclude"),
        ("name: a\nnetwork: {maxWriters: 1}", "network", "options.network", "did you mean"),
        ("name: a\nmaxWriters: 1", "maxWriters", "options.network.maxWriters", "did you mean"),
        ("name: a\non_max_writers: wait", "on_max_writers", "options.onMaxWriters", "did you mean"),
    ],
)
def test_it_has_the_file_and_the_key(
    tmp_path: Path, text: str, key: str | None, nearest: str | None, words: str
) -> None:
    file = tmp_path / "memsync.yaml"
    file.write_text(text)
    with pytest.raises(OptionsError) as caught:
        MemSync.from_config(file)
    error = caught.value
    assert str(file) in str(error)
    assert words in str(error)
    assert (error.key, error.nearest) == (key, nearest)
    assert error.source == str(file)


def test_the_largest_integers_of_64_bits_are_read(tmp_path: Path) -> None:
    file = tmp_path / "memsync.yaml"
    numbers = "[0, 9223372036854775807, -9223372036854775808]"
    file.write_text(f"name: a\ndata: {{n: {numbers}}}\n")
    with MemSync.from_config(file, engine="memory") as mem:
        assert mem.data["n"] == [0, 2**63 - 1, -(2**63)]


def test_each_error_of_options_has_the_facts() -> None:
    with pytest.raises(OptionsError) as caught:
        MemSync("a", options=3)  # type: ignore[arg-type]
    error = caught.value
    assert (error.key, error.nearest, error.source) == ("options", None, "options")
    other = OptionsError("any")
    assert (other.key, other.nearest, other.source) == (None, None, None)
