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
    )


async def follow(
    app: FastAPI,
    folder: Path,
    stop: asyncio.Event,
    every_s: float = _LOOK_EVERY_S,
    grace_s: float = _GRACE_S,
) -> None:
    """Look again and again until `stop` is set; `folder` is what is loaded at first.

    To be stopped, not cancelled: a cancelled look would leave its thread and connection behind.
    """
    while not await _set_within(stop, every_s):
        try:
            wanted = await run_in_threadpool(_wanted, app.state.desk)
        except MingbianError as error:
            _log.warning("the model in force is not known", extra={"code": error.code})
            continue
        if wanted != folder:
            folder = wanted
            await _swap(app, folder, grace_s)


async def _swap(app: FastAPI, folder: Path, grace_s: float) -> None:
    """Requests begun with the old model end with it; one that cannot run does not come into force."""
    old: Desk = app.state.desk
    fresh = await run_in_threadpool(open_as_set, old.settings, folder)
    if not fresh.ready:
        fresh.close()
        _log.error("the promoted model cannot run; the one before stays", extra={"code": fresh.missing})
        return
    app.state.desk = replace(old, triage=fresh)
    _log.info("another model is in force", extra={"bundle": fresh.versions.bundle})
    asyncio.get_running_loop().call_later(grace_s, old.triage.close)


async def _set_within(event: asyncio.Event, seconds: float) -> bool:
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()
    return event.is_set()


def _wanted(desk: Desk) -> Path:
    with desk.database.reading() as conn:
        return registry_of(desk.settings).folder_in_force(conn)
