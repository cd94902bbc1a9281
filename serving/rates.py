"""How often one API key may call: a token bucket each, in this process; `serving/access.py` asks."""

from __future__ import annotations

import math
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from data.errors import Unavailable

_MOST_KEYS: Final = 10_000


@dataclass(frozen=True, slots=True)
class Allowance:
    """What a key has left: `remaining` calls at once, and a full bucket again in `reset_s` seconds."""

    per_second: int
    remaining: int
    reset_s: int

    @property
    def headers(self) -> dict[str, str]:
        """RateLimit and RateLimit-Policy, as the IETF's draft on rate limit headers writes them."""
        return {
            "RateLimit-Policy": f'"key";q={self.per_second};w=1',
            "RateLimit": f'"key";r={self.remaining};t={self.reset_s}',
        }


class Rates:
    """Each key's bucket holds one second's worth of calls and fills steadily."""

    def __init__(self, per_second: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._per_second = per_second
        self._clock = clock
        self._lock = threading.Lock()
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()  # key id: (calls left, as of)

    def take(self, key_id: str) -> Allowance:
        """Count one call of a key that has been recognised: nobody can use up another's calls.

        Raises:
            Unavailable: `rate_limited`.
        """
        now = self._clock()
        with self._lock:
            left, then = self._buckets.pop(key_id, (float(self._per_second), now))
            left = min(self._per_second, left + (now - then) * self._per_second)
            allowed = left >= 1
            left -= allowed
            self._buckets[key_id] = (left, now)
            if len(self._buckets) > _MOST_KEYS:
                self._buckets.popitem(last=False)
        if not allowed:
            wait_s = math.ceil((1 - left) / self._per_second)
            raise Unavailable("rate_limited", f"该密钥每秒最多 {self._per_second} 次请求，请稍后重试", wait_s)
        return Allowance(self._per_second, int(left), math.ceil((self._per_second - left) / self._per_second))
