"""What Prometheus may know of this process: counts and durations, never an order; one registry an app."""

from __future__ import annotations

from typing import Final, Literal

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    generate_latest,
)

from data.records import Decision
from models.lanes import PRIORITIES
from models.triage import Triage

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
_SECONDS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 5.0)
_GROUP_SIZES: Final = (1, 2, 4, 8, 16, 32, 64, 128)


class Metrics:
    """Counters of one application. Labels come from closed lists, so that their number is bounded."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)
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
        self._orders_under_way = Gauge(
            "mingbian_orders_in_flight", "Orders let in and not yet answered.", registry=self._registry
        )
        self._refused = Counter(
            "mingbian_orders_refused",
            "Requests refused before anything was done, by why.",
            ("reason",),
            registry=self._registry,
        )
        self._batch_lines = Counter(
            "mingbian_batch_lines",
            "Lines of batches that are done, by what became of them.",
            ("result",),
            registry=self._registry,
        )
        self._batch_pending = Gauge(
            "mingbian_batch_lines_pending", "Lines of batches that wait.", registry=self._registry
        )
        self._inference_queue = Gauge(
            "mingbian_inference_queue",
            "Texts that wait for an inference stream.",
            ("priority",),
            registry=self._registry,
        )
        self._inference_oldest = Gauge(
            "mingbian_inference_oldest_seconds",
            "How long the first of them has waited.",
            registry=self._registry,
        )
        self._degraded = Gauge(
            "mingbian_degraded", "1 while the rules answer because no model can.", registry=self._registry
        )
        self._certificate = Gauge(
            "mingbian_certificate",
            "1 where the model in force has a certified threshold.",
            ("bound",),
            registry=self._registry,
        )
        self._queue = Gauge(
            "mingbian_review_queue",
            "Review items that wait, by status.",
            ("status",),
            registry=self._registry,
        )
        self._review_oldest = Gauge(
            "mingbian_review_oldest_seconds",
            "How long the oldest of them has waited since it was opened; 0 when none waits.",
            ("status",),
            registry=self._registry,
        )
        self._ready = Gauge(
            "mingbian_ready", "1 when the model is loaded and answers.", registry=self._registry
        )

    def decided(self, decision: Decision, seconds: float | None) -> None:
        """`seconds` of the triage; None for one that had to wait until nobody else did."""
        fallback = decision.fallback or "none"
        self._decisions.labels(decision.disposition, decision.source, fallback).inc()
        if seconds is not None:
            self._triage.observe(seconds)

    def committed(self, size: int, seconds: float) -> None:
        self._group_size.observe(size)
        self._commit.observe(seconds)

    def answered(self, method: str, route: str, status: int, seconds: float) -> None:
        known = method if method in ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS") else "other"
        self._requests.labels(known, route, str(status)).observe(seconds)

    def queue_is(self, status: str, size: int, oldest_s: float) -> None:
        self._queue.labels(status).set(size)
        self._review_oldest.labels(status).set(oldest_s)

    def orders_under_way(self, count: int) -> None:
        self._orders_under_way.set(count)

    def refused(self, reason: str) -> None:
        self._refused.labels(reason).inc()

    def batch_lines(self, result: Literal["decided", "refused"], count: int) -> None:
        self._batch_lines.labels(result).inc(count)

    def batch_pending_is(self, count: int) -> None:
        self._batch_pending.set(count)

    def triage_is(self, triage: Triage) -> None:
        """The model's state at this moment."""
        self._ready.set(triage.ready)
        self._degraded.set(not triage.ready)
        self._inference_oldest.set(triage.lanes.oldest_s())
        for priority in PRIORITIES:
            self._inference_queue.labels(priority).set(triage.lanes.waiting(priority))
        for bound in ("decline", "dispatch"):
            certified = getattr(triage.thresholds, bound) is not None
            self._certificate.labels(bound).set(certified)

    def text(self) -> bytes:
        """The exposition of everything counted so far (Prometheus text format 0.0.4)."""
        return generate_latest(self._registry)
