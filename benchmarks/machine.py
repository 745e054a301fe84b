"""What the numbers depend on: the machine, the interpreter and the versions of what is measured."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import memsync

UNKNOWN = "unknown"
PACKAGES = (
    "msgspec",
    "redis",
    "hiredis",
    "diskcache",
    "UltraDict",
    "atomics",
    "pysyncobj",
)


def facts() -> dict[str, Any]:
    """The facts, by name."""
    return {
        "cpus": os.cpu_count(),
        "processor": _processor(),
        "kernel": f"{platform.system()} {platform.release()}",
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "memsync": memsync.__version__,
        "redis-server": _redis_server(),
        **{name: _version(name) for name in PACKAGES},
    }


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _redis_server() -> str | None:
    if shutil.which("redis-server") is None:
        return None
    command = ["redis-server", "--version"]
    try:
        words = subprocess.run(command, capture_output=True, timeout=10).stdout.decode().split()
    except (OSError, ValueError, subprocess.SubprocessError):
        return UNKNOWN  # it is optional; what uses it says why it does not run
    return next((word.removeprefix("v=") for word in words if word.startswith("v=")), UNKNOWN)


def _processor() -> str:
    try:
        with open("/proc/cpuinfo") as file:
            lines = [line for line in file if line.startswith("model name")]
        return lines[0].partition(":")[2].strip()
    except (OSError, IndexError):
        return platform.processor()
