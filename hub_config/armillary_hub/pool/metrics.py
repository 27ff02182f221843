"""The pool's figures for Prometheus, in its text format; the names are those of the Grafana dashboard beside the hub.

Gauges are read from the books when Prometheus asks. Counters are counted from the books too, so they survive a restart:
GPU-seconds from the use of each lease, waits and suspensions from the audit (`armillary_hub.pool.audit_counts`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from itertools import accumulate
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from armillary_hub.pool.audit_counts import BOUNDS
from armillary_hub.pool.records import DeviceState, State
from armillary_hub.pool.situation import Situation

if TYPE_CHECKING:
    from armillary_hub.pool.pool import GpuPool

_STATES: tuple[State, ...] = ("granted", "queued", "suspended")
_DEVICE_STATES: tuple[DeviceState, ...] = ("working", "failing", "lost")
_PURPOSES = ("kernel", "worker", "app", "job")


class PoolMetrics(Collector):
    """Everything that Prometheus may ask of a pool.

    Parameters
    ----------
    pool
        The pool.
    """

    def __init__(self, pool: GpuPool) -> None:
        self._pool = pool
        self._counts = pool.counts
        self._registry = CollectorRegistry()
        self._registry.register(self)

    def text(self) -> bytes:
        """Return the figures now, in Prometheus's text format."""
        return generate_latest(self._registry)

    def describe(self) -> list[Metric]:
        """Return nothing: what there is to tell is asked of the books when it is wanted, not at the start."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Yield the figures now."""
        situation = self._pool.situation()
        yield from _leases(situation)
        yield from self._devices(situation)
        yield self._unleased()
        yield from self._counted()

    def _devices(self, situation: Situation) -> Iterator[Metric]:
        states = Counter(device.state for device in situation.devices)
        devices = GaugeMetricFamily("armillary_gpu_devices", "GPUs by state", labels=["state"])
        for state in _DEVICE_STATES:
            devices.add_metric([state], states[state])
        yield devices
        labels, latest = ["gpu", "uuid", "model"], self._pool.samples.latest()
        size = GaugeMetricFamily("armillary_gpu_memory_bytes", "Memory of a GPU", labels=labels)
        used = GaugeMetricFamily("armillary_gpu_memory_used_bytes", "Memory in use, by whomever", labels=labels)
        worked = GaugeMetricFamily("armillary_gpu_utilisation_ratio", "Part of the time it worked", labels=labels)
        for device in situation.devices:
            values, sample = [str(device.index), device.uuid, device.name], latest.get(device.uuid)
            size.add_metric(values, device.memory * 2**20)
            if sample is not None:
                used.add_metric(values, sample.memory * 2**20)
            if sample is not None and sample.utilisation is not None:
                worked.add_metric(values, sample.utilisation)
        yield from (size, used, worked)

    def _unleased(self) -> Metric:
        unleased = {use.pid for use in self._pool.enforcement.unleased}
        return GaugeMetricFamily("armillary_gpu_unleased_processes", "Processes without a lease", len(unleased))

    def _counted(self) -> Iterator[Metric]:
        self._counts.read_on()
        waits = self._counts.waits
        bounds = [*(f"{bound:g}" for bound in BOUNDS), "+Inf"]
        histogram = HistogramMetricFamily("armillary_gpu_wait_seconds", "Waits in the queue, from asking to a grant")
        histogram.add_metric([], list(zip(bounds, accumulate(waits.classes), strict=True)), waits.total)
        yield histogram
        for kind in ("suspension", "restoration"):
            steps = CounterMetricFamily(f"armillary_gpu_{kind}s", f"Ends of a {kind}, by result", labels=["result"])
            for result in ("done", "failed"):
                steps.add_metric([result], self._counts.steps[kind, result])
            yield steps
        seconds = CounterMetricFamily("armillary_gpu_seconds", "GPU-seconds used", labels=["user"])
        for user, used in sorted(self._pool.store.gpu_seconds().items()):
            seconds.add_metric([user], used)
        yield seconds


def _leases(situation: Situation) -> Iterator[Metric]:
    count = Counter((lease.state, lease.purpose) for lease in situation.leases)
    waiting = Counter(lease.purpose for lease in situation.leases if lease.waiting_since is not None)
    leases = GaugeMetricFamily("armillary_gpu_leases", "Leases by state and purpose", labels=["state", "purpose"])
    queue = GaugeMetricFamily(
        "armillary_gpu_waiting", "Leases in the queue, suspended ones that come back too", labels=["purpose"]
    )
    for purpose in _PURPOSES:
        queue.add_metric([purpose], waiting[purpose])
        for state in _STATES:
            leases.add_metric([state, purpose], count[state, purpose])
    begun = [lease.waiting_since for lease in situation.leases if lease.waiting_since is not None]
    longest = max(((situation.now - moment).total_seconds() for moment in begun), default=0.0)
    yield from (leases, queue)
    yield GaugeMetricFamily("armillary_gpu_longest_wait_seconds", "Longest wait of those in the queue", longest)
