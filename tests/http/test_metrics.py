"""/metrics shows the group, and /openapi.json is a valid document that lists the routes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from memsync import MemSync
from memsync.testing import Cluster, until

from .client import fetch, free_port, url_of
from .event_source import Stream

pytestmark = pytest.mark.process

Samples = dict[tuple[str, str], float]


@pytest.fixture
def mem() -> Iterator[MemSync[Any]]:
    with MemSync("foo", {"n": 0}, {"server": {"port": 0}}, engine="memory") as mem:
        yield mem


def scraped(url: str, label: str = "peer") -> Samples:
    """The samples of a scrape, by their names and the value of one label."""
    answer = fetch(url.rpartition("/")[0] + "/metrics")
    assert answer.status == 200
    assert answer.headers["content-type"].startswith("text/plain")
    families = list(text_string_to_metric_families(answer.body.decode()))
    for family in families:
        assert family.name.startswith("memsync_")
        assert family.documentation
    return {
        (sample.name, sample.labels.get(label, "")): sample.value
        for family in families
        for sample in family.samples
    }


class TestMetrics:
    def test_one_scrape_of_any_process_shows_the_group(self, cluster: Cluster) -> None:
        ports = [free_port(), free_port()]
        for port in ports:
            cluster.peer({"n": 0}, {"server": {"port": port}}, name="foo")
        with MemSync[Any]("foo") as writer:
            for _ in range(5):
                writer.patch({"$inc": {"n": 1}})
            urls = [f"http://127.0.0.1:{port}/foo" for port in ports]
            for url in urls:
                until(lambda: scraped(url).get(("memsync_writes_total", writer.id)) == 5)  # noqa: B023
                peers = {peer for name, peer in scraped(url) if name == "memsync_peer_info"}
                assert len(peers) == 3
            victim = cluster.living[0]
            gone = victim.status()["id"]
            victim.kill()
            until(lambda: not any(peer == gone for _, peer in scraped(urls[1])))

    def test_the_figures_of_the_process_that_is_asked(self, mem: MemSync[Any]) -> None:
        url = url_of(mem)
        fetch(url)
        fetch(url + "/nope")
        with Stream(url + "/changes") as stream, mem.lock("x"):
            stream.next()
            found = scraped(url)
            statuses = scraped(url, "status")
        assert found["memsync_version", mem.id] >= 2
        assert found["memsync_locks_held", mem.id] == 1
        assert found["memsync_http_streams", mem.id] == 1
        assert found["memsync_log_entries", mem.id] > 0
        assert found["memsync_log_bytes", mem.id] > 0
        assert statuses["memsync_http_requests_total", "404"] == 1
        assert statuses["memsync_http_requests_total", "200"] >= 2
        assert found["memsync_http_connections", ""] >= 1
        assert found["memsync_http_request_seconds_count", ""] >= 2

    def test_two_scrapes_count_on(self, mem: MemSync[Any]) -> None:
        url = url_of(mem)
        first, second = scraped(url, "status"), scraped(url, "status")
        key = ("memsync_http_requests_total", "200")
        assert second[key] == first.get(key, 0) + 1


class TestOpenApi:
    @pytest.mark.parametrize(
        "options", [pytest.param({}, marks=pytest.mark.slow), {"token": "x", "write": True}]
    )
    def test_the_document_is_valid(self, options: dict[str, Any]) -> None:
        from openapi_spec_validator import validate

        server = {"port": 0, **options}
        with MemSync("foo", {}, {"server": server}, engine="memory") as mem:
            url = url_of(mem).replace("foo", "openapi.json")
            answer = fetch(url, {"Authorization": "Bearer x"})
        document = json.loads(answer.body)
        validate(document)
        assert ("patch" in document["paths"]["/{name}"]) == bool(options)
        assert bool(document["security"]) == bool(options)

    def test_each_operation_states_its_headers(self) -> None:
        server = {"port": 0, "token": "x", "write": True}
        with MemSync("foo", {}, {"server": server}, engine="memory") as mem:
            url = url_of(mem).replace("foo", "openapi.json")
            document = fetch(url, {"Authorization": "Bearer x"}).json
        parts = document["paths"]["/{name}/{field}"]
        asked = {name: set(_parameters(document, parts[name])) for name in ("get", "patch")}
        assert asked["get"] == {"path", "wait", "at", "If-None-Match", "Prefer"}
        assert asked["patch"] == {"path", "If-Match", "If-None-Match", "Idempotency-Key"}
        for status in ("200", "304"):
            answered = parts["get"]["responses"][status]["headers"]
            assert set(answered) == {"ETag", "Memsync-Version", "Preference-Applied"}
        assert set(parts["patch"]["responses"]["200"]["headers"]) == {"ETag", "Memsync-Version"}
        assert _parameters(document, document["paths"]["/{name}/status"]["get"]) == ["ping"]

    def test_the_page_of_documentation_has_each_route(self, mem: MemSync[Any]) -> None:
        paths = fetch(url_of(mem).replace("foo", "openapi.json")).json["paths"]
        assert len(paths) == 10
        assert set(paths) >= {"/", "/healthz", "/metrics", "/{name}/status", "/{name}/changes"}


def _parameters(document: Any, operation: Any) -> list[str]:
    """The names of the parameters of an operation, beyond those of its path."""
    places = [each["$ref"].rpartition("/")[2] for each in operation["parameters"]]
    return [document["components"]["parameters"][place]["name"] for place in places]
