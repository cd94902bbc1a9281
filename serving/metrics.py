"""What Prometheus may know of this process: counts and durations, never an order; one registry an app."""

from __future__ import annotations

from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from data.records import Decision

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
_SECONDS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 5.0)
_GROUP_SIZES: Final = (1, 2, 4, 8, 16, 32, 64, 128)


class Metrics:
    """Counters of one application. Labels come from closed lists, so that their number is bounded."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._decisions = Counter(
            "mingbian_decisions",
            "Decisions made, by what happens now, who decided and why the model did not.",
            ("disposition", "source", "fallback"),
            registry=self._registry,
        )
        self._requests = Histogram(
            "mingbian_request_seconds",
            "Seconds from the first byte of a request to the last of its answer.",
            ("method", "route", "status"),
            buckets=_SECONDS,
            registry=self._registry,
        )
        self._triage = Histogram(
            "mingbian_triage_seconds",
            "Seconds that one order's triage took, the model's deadline included.",
            buckets=_SECONDS,
            registry=self._registry,
        )
        self._group_size = Histogram(
            "mingbian_commit_group_size",
            "Orders that shared one commit.",
            buckets=_GROUP_SIZES,
            registry=self._registry,
        )
        self._commit = Histogram(
            "mingbian_commit_seconds",
            "Seconds that one group of orders took to be written and committed.",
            buckets=_SECONDS,
            registry=self._registry,
        )
        self._queue = Gauge(
            "mingbian_review_queue",
            "Review items that wait, by status.",
            ("status",),
            registry=self._registry,
        )
        self._ready = Gauge(
            "mingbian_ready", "1 when the model is loaded and warmed.", registry=self._registry
        )

    def decided(self, decision: Decision, seconds: float) -> None:
        fallback = decision.fallback or "none"
        self._decisions.labels(decision.disposition, decision.source, fallback).inc()
        self._triage.observe(seconds)

    def committed(self, size: int, seconds: float) -> None:
        self._group_size.observe(size)
        self._commit.observe(seconds)

    def answered(self, method: str, route: str, status: int, seconds: float) -> None:
        known = method if method in ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS") else "other"
        self._requests.labels(known, route, str(status)).observe(seconds)

    def queue_is(self, status: str, size: int) -> None:
        self._queue.labels(status).set(size)

    def model_is(self, ready: bool) -> None:
        self._ready.set(1 if ready else 0)

    def text(self) -> bytes:
        """The exposition of everything counted so far (Prometheus text format 0.0.4)."""
        return generate_latest(self._registry)
