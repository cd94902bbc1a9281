"""How fast the machine is just now, and which cells were measured at another speed; the comparison asks."""

from __future__ import annotations

import time
from collections.abc import Hashable, Mapping
from statistics import median
from typing import TypeVar

import numpy as np

TOLERANCE = 0.2
HOPELESS = 1 / 3  # where so many cells stray, the machine has no usual speed to wait for

Key = TypeVar("Key", bound=Hashable)


def probe() -> float:
    """Seconds for a fixed piece of work, half matrix products and half interpreted Python."""
    matrix = np.full((512, 512), 0.5, dtype=np.float32)
    began = time.perf_counter()
    for _ in range(12):
        matrix @ matrix
    total = 0
    for number in range(700_000):
        total += number & 7
    return time.perf_counter() - began


def strays(probes: Mapping[Key, float], tolerance: float = TOLERANCE) -> list[Key]:
    """The cells whose probe lies further from the median of all than the tolerance, in their order."""
    if not probes:
        return []
    usual = median(probes.values())
    return [key for key, seconds in probes.items() if abs(seconds - usual) > tolerance * usual]


def worth_another_run(probes: Mapping[Key, float]) -> list[Key]:
    """The strays, unless they are so many that running them again would find no better moment."""
    found = strays(probes)
    return found if len(found) <= HOPELESS * len(probes) else []
