"""Follows the model in force: loads a promoted one beside the old and swaps; `serving/app.py` runs it."""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from fastapi import FastAPI
from starlette.concurrency import run_in_threadpool

from data.errors import MingbianError
from data.settings import Settings
from data.store.database import Database
from models.registry import Registry
from models.triage import Triage, open_triage
from serving.desk import Desk

_LOOK_EVERY_S = 2.0
_GRACE_S = 30.0  # longer than any request that still holds the old one
_RETRY_AT_MOST_S = 300.0

_log = logging.getLogger("mingbian.reload")


def open_in_force(settings: Settings, database: Database) -> tuple[Path, Triage]:
    """The model in force when the service starts, and where it lies."""
    with database.reading() as conn:
        folder = registry_of(settings).folder_in_force(conn)
    return folder, open_as_set(settings, folder)


def registry_of(settings: Settings) -> Registry:
    return Registry(settings.promoted, settings.bundle)


def open_as_set(settings: Settings, folder: Path) -> Triage:
    """The triage over a bundle with this machine's settings."""
    return open_triage(
        folder,
        auto_decline=settings.auto_decline,
        base_rate=settings.base_rate,
        deadline_s=settings.deadline_ms / 1000,
        cache=settings.promoted,
    )


class Retries:
    """When a folder that could not be loaded is tried again: soon at first, then ever less often."""

    def __init__(self, first_s: float, most_s: float = _RETRY_AT_MOST_S) -> None:
        self._first_s = first_s
        self._most_s = most_s
        self._folder: Path | None = None
        self._wait_s = first_s
        self._again_at = 0.0

    def due(self, folder: Path, now: float) -> bool:
        return folder != self._folder or now >= self._again_at

    def failed(self, folder: Path, now: float) -> float:
        """How long it is left alone, in seconds; a try costs the memory of a second model."""
        again = folder == self._folder
        self._wait_s = min(2 * self._wait_s, self._most_s) if again else self._first_s
        self._folder, self._again_at = folder, now + self._wait_s
        return self._wait_s


async def follow(
    app: FastAPI,
    folder: Path,
    stop: asyncio.Event,
    every_s: float = _LOOK_EVERY_S,
    grace_s: float = _GRACE_S,
) -> None:
    """Look again and again until `stop` is set; `folder` is what was opened at first, with success or not.

    To be stopped, not cancelled: a cancelled look would leave its thread and connection behind.
    """
    loop = asyncio.get_running_loop()
    retries = Retries(every_s)
    loaded = folder if app.state.desk.triage.missing is None else None
    if loaded is None:
        retries.failed(folder, loop.time())
    while not await _set_within(stop, every_s):
        try:
            wanted = await run_in_threadpool(_wanted, app.state.desk)
            if wanted == loaded or not retries.due(wanted, loop.time()):
                continue
            if await _swap(app, wanted, grace_s):
                loaded = wanted
            else:
                wait_s = retries.failed(wanted, loop.time())
                _log.error("the model in force cannot run; the one before stays", extra={"again_s": wait_s})
        except MingbianError as error:
            _log.warning("the model in force is not known", extra={"code": error.code})
        except Exception:  # noqa: BLE001 - a service that stopped following would say nothing more of it
            _log.exception("the model in force was not followed")


async def _swap(app: FastAPI, folder: Path, grace_s: float) -> bool:
    """Requests begun with the old model end with it; False: the new one cannot run and is not in force."""
    old: Desk = app.state.desk
    fresh = await run_in_threadpool(open_as_set, old.settings, folder)
    if not fresh.ready:
        fresh.close()
        return False
    app.state.desk = replace(old, triage=fresh)
    _log.info("another model is in force", extra={"bundle": fresh.versions.bundle})
    asyncio.get_running_loop().call_later(grace_s, old.triage.close)
    return True


async def _set_within(event: asyncio.Event, seconds: float) -> bool:
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()
    return event.is_set()


def _wanted(desk: Desk) -> Path:
    with desk.database.reading() as conn:
        return registry_of(desk.settings).folder_in_force(conn)
