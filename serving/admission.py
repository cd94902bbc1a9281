"""How much may be under way at once: what cannot be answered in time is refused at once, bulk work first."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Final, Literal

from starlette.types import ASGIApp, Receive, Scope, Send

from data.errors import Unavailable
from models.lanes import Lanes
from serving.metrics import Metrics

Kind = Literal["order", "batch", "other"]

# A refusal is for the moment: what is queued now is done within a deadline.
_RETRY_AFTER_S: Final = 1
# An order's own length is not known yet, and one may take several times the mean.
_ORDER_SHARE: Final = 0.5
_BATCH_SHARE: Final = 0.125
_MOST_OTHERS: Final = 32
_MOST_BATCHES: Final = 8  # of these: an upload may take its time, and pages must not wait for it
_EXEMPT: Final = frozenset({"/livez", "/readyz", "/metrics"})


class Gate:
    """Counts what is under way and says whether one more may come; on the event loop alone: it has no lock.

    An order is let in while those before it can be expected to be done within half of the deadline that
    turns an answer into the rules' answer: mean time in a lane, times orders under way, shared by the lanes.
    Batches stop long before that, since nobody waits at the telephone for them.
    """

    def __init__(self, lanes: Callable[[], Lanes], deadline_s: float, metrics: Metrics) -> None:
        """`lanes` are those in use now: another model brings its own."""
        self._lanes = lanes
        self._deadline_s = deadline_s
        self._metrics = metrics
        self._under_way: Counter[Kind] = Counter()

    @staticmethod
    def most_orders(lanes: int) -> int:
        """Never more than this, however short they are: each holds a thread while it is under way."""
        return 8 + 8 * lanes

    @classmethod
    def threads(cls, lanes: int) -> int:
        """Threads that all that is let in can need at once, and some for health and for pages' files."""
        return cls.most_orders(lanes) + _MOST_OTHERS + 8

    def enter(self, kind: Kind) -> None:
        """Raises:
        Unavailable: `overloaded`; nothing was begun.
        """
        if not self._has_room(kind):
            self._metrics.refused("overload")
            raise Unavailable("overloaded", "当前请求过多，请稍后重试；未作任何处理", _RETRY_AFTER_S)
        self._under_way[kind] += 1
        self._metrics.orders_under_way(self._under_way["order"])

    def leave(self, kind: Kind) -> None:
        self._under_way[kind] -= 1
        self._metrics.orders_under_way(self._under_way["order"])

    def _has_room(self, kind: Kind) -> bool:
        lanes = self._lanes()
        orders = self._under_way["order"]
        expected_s = orders * lanes.mean_s / lanes.count
        match kind:
            case "order":
                idle = orders < lanes.count
                in_time = expected_s <= _ORDER_SHARE * self._deadline_s
                return idle or (in_time and orders < self.most_orders(lanes.count))
            case "batch":
                quiet = expected_s <= _BATCH_SHARE * self._deadline_s
                return quiet and self._under_way["batch"] < _MOST_BATCHES and self._others() < _MOST_OTHERS
            case "other":
                return self._others() < _MOST_OTHERS

    def _others(self) -> int:
        return self._under_way["batch"] + self._under_way["other"]


class Admission:
    """Pure ASGI middleware around a gate, for requests whose body is there; an upload has yet to be read."""

    def __init__(self, app: ASGIApp, gate: Gate) -> None:
        self.app = app
        self.gate = gate

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] in _EXEMPT:
            await self.app(scope, receive, send)
            return
        kind = _kind(scope)
        self.gate.enter(kind)
        try:
            await self.app(scope, receive, send)
        finally:
            self.gate.leave(kind)


def _kind(scope: Scope) -> Kind:
    if scope["method"] == "POST":
        match scope["path"]:
            case "/v1/orders":
                return "order"
            case "/v1/batches":
                return "batch"
    return "other"
