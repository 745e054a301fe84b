"""Headless Chromium, driven over two pipes by its DevTools protocol."""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

from memsync.testing import until

PROGRAM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("chrome")


class Browser:
    """One tab."""

    def __init__(self, folder: Path) -> None:
        assert PROGRAM is not None
        to_read, self._write = os.pipe()
        self._read, to_write = os.pipe()
        command = (
            f"exec {PROGRAM} --headless=new --no-sandbox --disable-gpu --disable-dev-shm-usage "
            f"--user-data-dir={folder} --no-first-run --remote-debugging-pipe about:blank "
            f"3<&{to_read} 4>&{to_write}"
        )
        self._process = subprocess.Popen(
            ["bash", "-c", command],
            pass_fds=(to_read, to_write),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "HOME": str(folder)},
        )
        os.close(to_read)
        os.close(to_write)
        self._left = b""
        self._number = 0
        self.events: list[dict[str, Any]] = []
        target = self._call("Target.createTarget", {"url": "about:blank"}, None)["targetId"]
        attach = {"targetId": target, "flatten": True}
        self._session: str = self._call("Target.attachToTarget", attach, None)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """One call of the protocol."""
        return self._call(method, parameters, self._session)

    def _call(self, method: str, parameters: Any, session: str | None) -> dict[str, Any]:
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        if session is not None:
            message["sessionId"] = session
        os.write(self._write, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._next()
            if answer.get("id") == self._number:
                if "error" in answer:
                    raise AssertionError(f"{method}: {answer['error']}")
                result: dict[str, Any] = answer["result"]
                return result
            self.events.append(answer)

    def _next(self) -> dict[str, Any]:
        while b"\0" not in self._left:
            data = os.read(self._read, 1 << 20)
            if not data:
                raise AssertionError("the browser has ended")
            self._left += data
        message, _, self._left = self._left.partition(b"\0")
        found: dict[str, Any] = json.loads(message)
        return found

    def js(self, expression: str) -> Any:
        """The value of an expression in the page."""
        result = self.call(
            "Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True
        )
        assert "exceptionDetails" not in result, result["exceptionDetails"]
        return result["result"].get("value")

    def go(self, url: str, *, width: int = 1280, height: int = 900, dark: bool = False) -> None:
        """Open a page."""
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=False,
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[scheme])
        self.call("Page.navigate", url=url)

    def until(self, expression: str, timeout: float = 20) -> Any:
        """Wait until an expression is true; it may fail while the page changes."""
        tried = f"(() => {{ try {{ return {expression}; }} catch {{ return false; }} }})()"
        return until(lambda: self.js(tried), timeout, f"never true: {expression}")

    def key(self, name: str) -> None:
        """Press a key."""
        for kind in ("keyDown", "keyUp"):
            self.call("Input.dispatchKeyEvent", type=kind, key=name)

    def screenshot(self, path: Path) -> None:
        """Save what is to be seen."""
        data = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=True)["data"]
        path.write_bytes(base64.b64decode(data))

    def errors(self) -> list[Any]:
        """What the page has reported as errors."""
        wanted: dict[str, Callable[[dict[str, Any]], Any]] = {
            "Runtime.exceptionThrown": lambda event: event["exceptionDetails"],
            "Log.entryAdded": lambda event: (
                event["entry"]["text"] if event["entry"]["level"] == "error" else None
            ),
        }
        found = [wanted[e["method"]](e["params"]) for e in self.events if e["method"] in wanted]
        return [each for each in found if each is not None]

    def close(self) -> None:
        """End the browser."""
        self._process.terminate()
        self._process.wait(60)
        os.close(self._write)
        os.close(self._read)
