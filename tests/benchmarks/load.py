"""The load generator: N callers who wait, or Poisson arrivals who do not; the comparison runs both."""

from __future__ import annotations

import asyncio
import math
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import count

from tests.benchmarks.connection import Broken, Connection, Request

GIVE_UP_S = 30.0


@dataclass(frozen=True, slots=True)
class Target:
    """Who is asked: `request` makes the n-th request, `fulfilled` whether a response is a whole answer."""

    host: str
    port: int
    request: Callable[[int], Request]
    fulfilled: Callable[[int, bytes], bool]


@dataclass(frozen=True, slots=True)
class Figures:
    """What one cell measured. Latencies in seconds; a request that was not fulfilled took forever.

    `offered` is the rate of the arrivals, None in the closed loop. `asked` counts all requests, `counted`
    those within the time that is measured, `failed` those of them that were not fulfilled. `busy` is the
    share of one core that the generator itself took.
    """

    offered: float | None
    rate: float
    p50: float
    p95: float
    p99: float
    asked: int
    counted: int
    failed: int
    busy: float


def percentile(values: Sequence[float], share: float) -> float:
    """The least value that this share of all values does not exceed (nearest rank); nan of no values."""
    if not values:
        return math.nan
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def arrivals(rate: float, seconds: float, seed: int) -> list[float]:
    """Poisson arrivals at `rate` a second within `seconds`: the same for every contender by the same seed."""
    chance = random.Random(seed)
    times: list[float] = []
    now = chance.expovariate(rate)
    while now < seconds:
        times.append(now)
        now += chance.expovariate(rate)
    return times


def closed_loop(target: Target, connections: int, seconds: float, ramp: float) -> Figures:
    """As fast as N callers who wait for their answers can go; the ramp's answers are not counted."""
    return asyncio.run(_closed(target, connections, seconds, ramp))


def open_loop(target: Target, rate: float, seconds: float, seed: int) -> Figures:
    """As many callers as come, whether others were answered or not.

    Latency runs from the moment a request should have been sent, so that neither a slow server nor a late
    generator can hide the wait of those who came meanwhile (coordinated omission).
    """
    return asyncio.run(_open(target, rate, seconds, seed))


def ask_once(target: Target) -> bool:
    """Whether the target fulfils its first request now."""

    async def ask() -> bool:
        connection = Connection(target.host, target.port)
        try:
            return await _asked(connection, target, 0)
        finally:
            await connection.close()

    return asyncio.run(ask())


async def _closed(target: Target, connections: int, seconds: float, ramp: float) -> Figures:
    numbers = count()
    clock = time.perf_counter
    begin = clock() + ramp
    end = begin + seconds
    latencies: list[float] = []

    async def caller() -> None:
        connection = Connection(target.host, target.port)
        while (sent := clock()) < end:
            fulfilled = await _asked(connection, target, next(numbers))
            # An answer counts when it arrives: what was sent in the ramp makes up for what the end cuts.
            if begin <= (now := clock()) < end:
                latencies.append(now - sent if fulfilled else math.inf)
            if not fulfilled:
                await asyncio.sleep(0.01)  # a server that refuses at once is not asked in a tight loop
        await connection.close()

    worked = time.process_time()
    await asyncio.gather(*(caller() for _ in range(connections)))
    busy = (time.process_time() - worked) / (ramp + seconds)
    return _figures(latencies, None, seconds, next(numbers), busy)


async def _open(target: Target, rate: float, seconds: float, seed: int) -> Figures:
    clock = time.perf_counter
    latencies: list[float] = []
    idle: list[Connection] = []

    async def ask(number: int, intended: float) -> None:
        connection = idle.pop() if idle else Connection(target.host, target.port)
        fulfilled = await _asked(connection, target, number)
        latencies.append(clock() - intended if fulfilled else math.inf)
        idle.append(connection)

    worked = time.process_time()
    begin = clock()
    asked = []
    for number, at in enumerate(arrivals(rate, seconds, seed)):
        await asyncio.sleep(max(0.0, begin + at - clock()))
        asked.append(asyncio.create_task(ask(number, begin + at)))
    await asyncio.gather(*asked)
    took = max(seconds, clock() - begin)
    for connection in idle:
        await connection.close()
    return _figures(latencies, rate, took, len(asked), (time.process_time() - worked) / took)


async def _asked(connection: Connection, target: Target, number: int) -> bool:
    """Whether the request was fulfilled; whatever else happens to it is a failure of the server."""
    try:
        async with asyncio.timeout(GIVE_UP_S):
            status, body = await connection.ask(target.request(number))
    except (TimeoutError, Broken, OSError, ValueError):
        return False
    return target.fulfilled(status, body)


def _figures(
    latencies: list[float], offered: float | None, seconds: float, asked: int, busy: float
) -> Figures:
    answered = sum(math.isfinite(latency) for latency in latencies)
    p50, p95, p99 = (percentile(latencies, share) for share in (0.5, 0.95, 0.99))
    return Figures(
        offered=offered,
        rate=answered / seconds,
        p50=p50,
        p95=p95,
        p99=p99,
        asked=asked,
        counted=len(latencies),
        failed=len(latencies) - answered,
        busy=busy,
    )
