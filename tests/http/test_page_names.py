"""Odd names of fields, fragments and tokens on the page."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from memsync import MemSync

from .browser import PROGRAM, Browser
from .client import url_of

pytestmark = [
    pytest.mark.process,
    pytest.mark.skipif(PROGRAM is None, reason="there is no Chromium"),
]

ROWS = "[...document.querySelectorAll('.row:not([hidden])')].map((row) => row.textContent)"
STATE = "document.getElementById('state').textContent"


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    browser = Browser(tmp_path_factory.mktemp("browser"))
    yield browser
    browser.close()


def _root(mem: MemSync[Any]) -> str:
    return url_of(mem).removesuffix("foo")


def test_new_fields_with_names_of_the_language_are_shown(browser: Browser) -> None:
    with MemSync("foo", {"n": 0}, {"server": {"port": 0}}, engine="memory") as mem:
        browser.go(_root(mem))
        browser.until(f"{ROWS}.length == 1")
        for count, name in enumerate(["toString", "__proto__", "constructor", "hasOwnProperty"], 2):
            mem.patch([{"op": "add", "path": f"/{name}", "value": {"x": 1}}])
            browser.until(f"{ROWS}.length == {count}")
            assert browser.js(f"{ROWS}.includes('▸{name}: {{1}}')")
            mem.patch([{"op": "add", "path": f"/{name}/y", "value": 2}])
            browser.until(f"{ROWS}.includes('▸{name}: {{2}}')")
        mem.patch([{"op": "remove", "path": "/__proto__"}])
        browser.until(f"{ROWS}.length == 4")


@pytest.mark.parametrize("fragment", ["%", "%E9", "nope", "__proto__"])
def test_any_fragment_opens_the_page(browser: Browser, fragment: str) -> None:
    with MemSync("foo", {"n": 0}, {"server": {"port": 0}}, engine="memory") as mem:
        browser.go(f"{_root(mem)}#{fragment}")
        browser.until(f"{ROWS}.length == 1")
        assert browser.js(STATE) == "live"


@pytest.mark.parametrize("wrong", ["no", "\u20ac", " "])
def test_a_wrong_token_is_asked_for_again(browser: Browser, wrong: str) -> None:
    options = {"server": {"port": 0, "token": "secret"}}
    with MemSync("foo", {"n": 1}, options, engine="memory") as mem:
        browser.go(_root(mem))
        login = "(document.getElementById('login')?.hidden === false)"
        browser.until(login)
        for token in (wrong, " secret "):
            browser.js(f"document.getElementById('token').value = '{token}'")
            browser.js("document.querySelector('#login button').click()")
            browser.until(f"{login} == {'true' if token == wrong else 'false'}")
        browser.until(f"{ROWS}[0] == 'n: 1'")
