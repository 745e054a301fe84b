"""``/metrics``: the figures of objects, peers and this server, for Prometheus.

What concerns a peer comes from the replicated state, so each process has the figures of the whole
group, and those of a dead peer go with its membership. What only a process itself knows is there
for the process that is asked.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    InfoMetricFamily,
    Metric,
    SummaryMetricFamily,
)
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.registry import Collector

from ..replication.lock_part import lock_facts

if TYPE_CHECKING:
    from ..runtime.participant import Participant
    from .served import Served

__all__ = ["CONTENT_TYPE_LATEST", "Figures", "Metrics"]


class Figures:
    """What one server counts; on the thread of its loop."""

    def __init__(self) -> None:
        self.requests: Counter[int] = Counter()  # by status
        self.seconds = 0.0
        self.timed = 0

    def add(self, status: int, seconds: float | None) -> None:
        """Count a request, with its time unless it has waited."""
        self.requests[status] += 1
        if seconds is not None:
            self.seconds += seconds
            self.timed += 1


class Metrics(Collector):
    """The figures in Prometheus' text format."""

    def __init__(
        self,
        figures: Figures,
        objects: Callable[[], list[Served]],
        connections: Callable[[], int],
        streams: Callable[[Served], int],
    ) -> None:
        self._figures = figures
        self._objects = objects
        self._connections = connections
        self._streams = streams
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(self)

    def text(self) -> bytes:
        """The answer to a scrape."""
        return generate_latest(self._registry)

    def describe(self) -> Iterable[Metric]:
        """Nothing is collected when this is registered."""
        return ()

    def collect(self) -> Iterable[Metric]:
        """The families of now."""
        families = _Families()
        for served in self._objects():
            if not served.engine.is_ended:
                families.add(served.name, served.engine.participant, self._streams(served))
        yield from families.all()
        pid = str(os.getpid())
        requests = CounterMetricFamily(
            "memsync_http_requests", "requests that were answered", labels=["pid", "status"]
        )
        for status, number in sorted(self._figures.requests.items()):
            requests.add_metric([pid, str(status)], number)
        yield requests
        seconds = SummaryMetricFamily(
            "memsync_http_request_seconds",
            "time of answers, without long polls and streams",
            labels=["pid"],
        )
        seconds.add_metric([pid], self._figures.timed, self._figures.seconds)
        yield seconds
        connections = GaugeMetricFamily(
            "memsync_http_connections", "open connections", labels=["pid"]
        )
        connections.add_metric([pid], self._connections())
        yield connections


class _Families:
    """The families with the labels `object` and `peer`."""

    def __init__(self) -> None:
        labels = ["object", "peer"]
        self.peer = InfoMetricFamily("memsync_peer", "a member of the group", labels=labels)
        self.writes = CounterMetricFamily(
            "memsync_writes",
            "writes of a peer that were decided, locks and events too",
            labels=labels,
        )
        self.held = GaugeMetricFamily(
            "memsync_locks_held", "places that a peer holds", labels=labels
        )
        self.waiting = GaugeMetricFamily(
            "memsync_locks_awaited", "places that a peer waits for", labels=labels
        )
        self.version = GaugeMetricFamily("memsync_version", "confirmed version", labels=labels)
        self.epoch = GaugeMetricFamily("memsync_epoch", "number of the host's epoch", labels=labels)
        self.pending = GaugeMetricFamily(
            "memsync_pending_writes", "own writes without an outcome", labels=labels
        )
        self.entries = GaugeMetricFamily("memsync_log_entries", "entries in memory", labels=labels)
        self.log_bytes = GaugeMetricFamily("memsync_log_bytes", "their size", labels=labels)
        self.streams = GaugeMetricFamily(
            "memsync_http_streams", "open streams of changes", labels=labels
        )

    def add(self, name: str, participant: Participant, streams: int) -> None:
        """Add the figures of one object."""
        state = participant.state
        with participant.guard:
            members, host = dict(state.members), state.host
            last = {peer: session.last for peer, session in state.sessions.items()}
            locks = lock_facts(state)
            size = participant.log.size_of_newest(len(participant.log))
        held = Counter(each["id"] for lock in locks.values() for each in lock["holders"])
        waiting = Counter(each["id"] for lock in locks.values() for each in lock["queue"])
        for peer, member in members.items():
            labels = [name, peer]
            facts = {
                "pid": str(member["pid"]),
                "roles": ",".join(member["roles"]),
                "host": "true" if peer == host else "false",
            }
            self.peer.add_metric(labels, facts)
            self.writes.add_metric(labels, last.get(peer, 0))
            self.held.add_metric(labels, held[peer])
            self.waiting.add_metric(labels, waiting[peer])
        own = [name, participant.id]
        epoch, version = participant.replica.view_pair
        self.version.add_metric(own, version)
        self.epoch.add_metric(own, epoch)
        self.pending.add_metric(own, participant.writer.pending)
        self.entries.add_metric(own, len(participant.log))
        self.log_bytes.add_metric(own, size)
        self.streams.add_metric(own, streams)

    def all(self) -> Iterable[Metric]:
        """The families."""
        return vars(self).values()
