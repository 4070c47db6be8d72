"""Prometheus metrics: what the daemon counts and times. Names of objects and attachments are never labels."""

from collections import Counter as Tally
from collections.abc import Callable, Iterable, Iterator

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info, generate_latest
from prometheus_client.metrics_core import GaugeMetricFamily, Metric

STEP_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
COMMIT_BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5)
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

States = Callable[[], Iterable[tuple[str, tuple[str, ...]]]]
"""The phase of every attachment and the states of its paths, asked at each scrape."""


class Metrics:
    """All of them, in a registry of their own. Implements `agent.engine.meter.Meter`."""

    def __init__(self, version: str) -> None:
        self._registry = CollectorRegistry()
        Info("cdmi_attach_build", "The daemon's version", registry=self._registry).info({"version": version})
        self._operations = self._counter("operations", "Attaches and detaches ended", "kind", "protocol", "result")
        self._mismatches = self._counter("identity_mismatch", "Logical units that were not the ones asked for")
        self._requests = self._counter("cdmi_requests", "Requests to CDMI servers", "server", "code")
        self._steps = self._histogram("step_seconds", "Steps by kind and result", STEP_BUCKETS, "step", "result")
        self._commits = self._histogram("ledger_commit_seconds", "Commits of the ledger", COMMIT_BUCKETS)
        self._stragglers = self._gauge("stragglers", "Workers of the helper that are stuck in the kernel")
        self._lag = self._gauge("loop_lag_seconds", "How late the event loop was at worst since the last scrape")

    def watch(self, states: States) -> None:
        """Tell attachments by phase and paths by state from now on."""
        self._registry.register(_States(states))

    def operation(self, kind: str, protocol: str, result: str) -> None:
        """An attach or detach ended: with `ok`, or with a problem's code."""
        self._operations.labels(kind, protocol or "none", result).inc()
        if result == "wrong-device":
            self._mismatches.inc()

    def step(self, kind: str, seconds: float, result: str) -> None:
        """A step ended: `ok`, `failed` or `uncertain`."""
        self._steps.labels(kind, result).observe(seconds)

    def commit(self, seconds: float) -> None:
        """A transaction of the ledger is on disk."""
        self._commits.observe(seconds)

    def request(self, server: str, code: str) -> None:
        """A CDMI server answered with an HTTP status, or `unreachable`."""
        self._requests.labels(server, code).inc()

    def late(self, seconds: float) -> None:
        """How late the event loop was at worst since the last scrape."""
        self._lag.set(seconds)

    def stuck(self, workers: int) -> None:
        """How many workers of the helper are stuck."""
        self._stragglers.set(workers)

    def text(self) -> bytes:
        """The exposition of everything (Prometheus text format 0.0.4)."""
        return generate_latest(self._registry)

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(f"cdmi_attach_{name}", text, labels, registry=self._registry)

    def _gauge(self, name: str, text: str) -> Gauge:
        return Gauge(f"cdmi_attach_{name}", text, registry=self._registry)

    def _histogram(self, name: str, text: str, buckets: tuple[float, ...], *labels: str) -> Histogram:
        return Histogram(f"cdmi_attach_{name}", text, labels, registry=self._registry, buckets=buckets)


class _States:
    """A collector that counts at each scrape."""

    def __init__(self, states: States) -> None:
        self._states = states

    def collect(self) -> Iterator[Metric]:
        phases, paths = Tally[str](), Tally[str]()
        for phase, of_paths in self._states():
            phases[phase] += 1
            paths.update(of_paths)
        for name, text, label, tally in (
            ("attachments", "Attachments by phase", "phase", phases),
            ("paths", "Paths of attachments by state", "state", paths),
        ):
            family = GaugeMetricFamily(f"cdmi_attach_{name}", text, labels=[label])
            for value, count in sorted(tally.items()):
                family.add_metric([value], count)
            yield family

    def describe(self) -> list[Metric]:
        """Nothing in advance: the registry need not ask before there are attachments."""
        return []
