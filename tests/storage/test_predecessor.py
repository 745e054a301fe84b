"""Chapter 8 of the predecessor's README: storage."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from memsync import MemSync
from memsync.errors import StorageError


def test_an_object_is_saved_and_loaded(tmp_path: Path) -> None:
    path = tmp_path / "file" / "persistence.json"
    for number in range(1, 3):
        with MemSync("storage", {"num": 0}, {"file": {"path": str(path)}}) as mem:
            mem.patch({"$inc": {"num": 1}})
        assert json.loads(path.read_text())["data"] == {"num": number}


def test_a_file_of_the_predecessor_is_loaded(tmp_path: Path) -> None:
    path = tmp_path / "old.json"
    path.write_text('{"data":{"num":7},"version":12,"timestamp":1700000000000}')
    with MemSync("storage", {"num": 0}, {"file": {"path": str(path)}}) as mem:
        assert mem.snapshot() == {"num": 7}
        assert mem.version > 12


def test_a_url_of_s3_names_a_bucket_and_an_object() -> None:
    pytest.importorskip("obstore")
    with pytest.raises(StorageError, match="name a bucket and an object"):
        MemSync("storage", {"num": 0}, {"file": {"path": "s3://my"}}).start()
