"""The files around the package say the same: workflow, hooks, tox, changelog."""

from __future__ import annotations

import configparser
import re
import tomllib
from pathlib import Path
from typing import Any

import yaml

from memsync.manager.transport.messages import PROTOCOL

ROOT = Path(__file__).parent.parent
SECTIONS = {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}


def read_yaml(name: str) -> Any:
    return yaml.safe_load((ROOT / name).read_text())


def read_tox() -> configparser.ConfigParser:
    parser = configparser.ConfigParser(interpolation=None)
    parser.read(ROOT / "tox.ini")
    return parser


def test_the_workflow_runs_the_test_command_on_the_versions_of_tox() -> None:
    job = read_yaml(".github/workflows/test.yml")["jobs"]["test"]
    assert job["steps"][-1]["run"] == "bash .ci/run"
    matrix = job["strategy"]["matrix"]
    assert {os.split("-")[0] for os in matrix["os"]} == {"ubuntu", "macos"}
    environments = {f"py{version.replace('.', '')}" for version in matrix["python"]}
    assert environments == set(re.findall(r"py\d+", read_tox()["tox"]["env_list"]))


def test_every_classifier_of_a_version_is_tested() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    found = re.findall(r"Python :: (3\.\d+)", "\n".join(project["classifiers"]))
    matrix = read_yaml(".github/workflows/test.yml")["jobs"]["test"]["strategy"]["matrix"]
    assert found
    assert set(found) <= set(matrix["python"])


def test_the_hooks_are_the_lint_commands_and_fetch_nothing() -> None:
    repositories = read_yaml(".pre-commit-config.yaml")["repos"]
    assert [each["repo"] for each in repositories] == ["local"]
    hooks = [hook for each in repositories for hook in each["hooks"]]
    assert {hook["language"] for hook in hooks} == {"system"}
    # A hook gets the files as arguments, and it formats where tox only checks.
    lint = read_tox()["testenv:lint"]["commands"].replace(" --check", "").splitlines()
    assert {hook["entry"] for hook in hooks} == {line.removesuffix(" .") for line in lint if line}


def test_the_issue_forms_are_forms() -> None:
    forms = [path for path in (ROOT / ".github/ISSUE_TEMPLATE").iterdir() if path.stem != "config"]
    assert len(forms) == 2
    for path in forms:
        form = yaml.safe_load(path.read_text())
        assert {"name", "description", "body"} <= set(form)
        ids = [item["id"] for item in form["body"] if item["type"] != "markdown"]
        assert len(ids) == len(set(ids)) > 0


def test_the_changelog_has_the_sections_of_keep_a_changelog() -> None:
    text = (ROOT / "CHANGELOG.md").read_text()
    versions = re.findall(r"^## (.*)$", text, re.MULTILINE)
    assert versions[0] == "Unreleased"
    assert set(re.findall(r"^### (.*)$", text, re.MULTILINE)) <= SECTIONS


def test_the_pages_name_the_protocol_number_of_the_code() -> None:
    found = re.findall(r"`PROTOCOL` in [^,]*, now (\d+)", (ROOT / "docs/versioning.md").read_text())
    assert found == [str(PROTOCOL)]
    changes = re.findall(r"protocol number is (\d+)", (ROOT / "CHANGELOG.md").read_text())
    assert changes[0] == str(PROTOCOL)
