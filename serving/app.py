"""Puts the application together; `serving/__main__.py` and tests call `create_app`."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final

from anyio.to_thread import current_default_thread_limiter
from fastapi import FastAPI
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute
from pydantic import BaseModel
from starlette.concurrency import run_in_threadpool

from data.errors import MingbianError
from data.settings import Settings
from data.store import batches as stored_batches
from data.store import idempotency
from data.store.database import Database
from data.store.keyring import Keyring
from data.taxonomy import Taxonomy
from models.triage import Triage
from serving import answer_headers, errors, tracing
from serving.access import Allow
from serving.admission import Admission, Gate
from serving.batch_worker import BatchWorker
from serving.desk import Desk, utc_now
from serving.envelope import Envelope
from serving.errors import PROBLEM, Problem
from serving.head_requests import HeadRequests
from serving.ingress import Ingress
from serving.keeping import OrderKeeper
from serving.messages import NewOrder, member_names
from serving.metrics import Metrics
from serving.pages import site
from serving.rates import Rates
from serving.reloading import follow
from serving.review_messages import NewJudgement, Resolution
from serving.routes import audit, batches, health, model, orders, reviews
from serving.sessions import Sessions

_DESCRIPTION: Final = """明辨：12345 热线工单研判服务。

送入一件工单，得到研判结论：诉求合理与否、理由与依据、诉求性质、内容分类、把握程度，以及是否须由人复核。
每个决定与其后的每次变更都写入可由外部核验的审计日志。

Mingbian triages 12345 hotline work orders. Errors are RFC 9457 problems: switch on `code`; `detail` is
Chinese, for people. Every answer carries `X-Request-Id`."""
_PARTS: Final = (orders, batches, reviews, audit, model, health)
_PRUNE_EVERY_S: Final = 3600

_log = logging.getLogger("mingbian.app")


def create_app(
    settings: Settings,
    database: Database,
    keyring: Keyring,
    triage: Triage,
    taxonomy: Taxonomy,
    loaded_from: Path | None = None,
    now: Callable[[], datetime] = utc_now,
) -> FastAPI:
    """The whole service over opened parts, which stay the caller's to close.

    Args:
        loaded_from: the folder that `triage` was opened from (default: the configured bundle); when
            another bundle is put in force, the service goes over to it.
        now: the one clock (aware, UTC).
    """
    app = routed()
    metrics = Metrics()

    def crowded() -> bool:
        in_use: Triage = app.state.desk.triage  # another model brings lanes of its own
        return in_use.lanes.waiting("interactive") > 0

    desk = Desk(
        settings=settings,
        database=database,
        keyring=keyring,
        triage=triage,
        taxonomy=taxonomy,
        sessions=Sessions(keyring.cookies),
        metrics=metrics,
        keeper=OrderKeeper(database, keyring.vault, taxonomy, metrics, now, crowded),
        rates=Rates(settings.rate_limit),
        now=now,
    )
    app.state.desk = desk
    app.state.loaded_from = loaded_from or settings.bundle
    app.state.gate = Gate(lambda: app.state.desk.triage.lanes, settings.deadline_ms / 1000, metrics)
    app.state.batch_worker = BatchWorker(lambda: app.state.desk)
    errors.install(app)
    # The last one added is the outermost.
    app.add_middleware(HeadRequests)
    # Within ingress: a body that never arrives must not hold a place.
    app.add_middleware(Admission, gate=app.state.gate)
    app.add_middleware(
        Ingress,
        body_limit=settings.body_limit,
        known_names=member_names(NewOrder, NewJudgement, Resolution),
    )
    app.add_middleware(Envelope, observe=desk.metrics.answered)
    tracing.install(app)
    return app


def routed() -> FastAPI:
    """The routes alone, enough to describe the API without opening anything."""
    app = FastAPI(
        title="明辨 Mingbian",
        version="0.1.0",
        description=_DESCRIPTION,
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
        lifespan=_lifespan,
        telemetry=tracing.NO_TELEMETRY_OF_ITS_OWN,
    )
    for part in _PARTS:
        app.include_router(part.router)
    app.include_router(site.router, include_in_schema=False)
    return app


def describe() -> dict[str, Any]:
    """The OpenAPI 3.1 document, with each operation's roles, its way of failing and its headers."""
    document = routed().openapi()
    schemas = document["components"]["schemas"]
    unspoken: tuple[type[BaseModel], ...] = (Problem, *batches.SHAPES)  # of which no signature speaks
    for shape in unspoken:
        schema = shape.model_json_schema(ref_template="#/components/schemas/{model}")
        for name, part in {**schema.pop("$defs", {}), shape.__name__: schema}.items():
            schemas.setdefault(name, part)
    for unused in ("HTTPValidationError", "ValidationError"):
        schemas.pop(unused, None)
    problem = {
        "description": "RFC 9457 problem；以 `code` 区分。",
        "content": {PROBLEM: {"schema": {"$ref": "#/components/schemas/Problem"}}},
    }
    for path, method, roles in _operations():
        operation = document["paths"][path][method]
        operation["responses"].pop("422", None)
        if roles:
            operation["x-roles"] = list(roles)
        answer_headers.name_headers(path, operation, problem)
    document["components"]["headers"] = answer_headers.COMPONENTS
    return document


def _operations() -> list[tuple[str, str, tuple[str, ...]]]:
    return [
        (route.path, method.lower(), _roles(route.dependant))
        for part in _PARTS
        for route in part.router.routes
        if isinstance(route, APIRoute)
        for method in route.methods or ()
    ]


def _roles(dependant: Dependant) -> tuple[str, ...]:
    own = dependant.call.roles if isinstance(dependant.call, Allow) else ()
    return tuple(own) + tuple(role for below in dependant.dependencies for role in _roles(below))


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    desk: Desk = app.state.desk
    current_default_thread_limiter().total_tokens = Gate.threads(desk.triage.lanes.count)
    stop = asyncio.Event()
    following = asyncio.create_task(follow(app, app.state.loaded_from, stop))
    pruning = asyncio.create_task(_prune_hourly(desk))
    worker: BatchWorker = app.state.batch_worker
    worker.start()
    yield
    await run_in_threadpool(worker.stop)
    stop.set()
    await following
    pruning.cancel()
    with suppress(asyncio.CancelledError):
        await pruning
    if app.state.desk.triage is not desk.triage:  # what was opened here is closed here
        app.state.desk.triage.close()


async def _prune_hourly(desk: Desk) -> None:
    while True:
        try:
            await run_in_threadpool(_prune, desk)
        except MingbianError as error:
            _log.warning("stored answers were not pruned", extra={"code": error.code})
        except Exception as error:  # noqa: BLE001 - whatever it is, the next hour's try may go well
            errors.record(error)
        await asyncio.sleep(_PRUNE_EVERY_S)


def _prune(desk: Desk) -> None:
    with desk.database.transaction() as conn:
        before = desk.now() - timedelta(hours=desk.settings.idempotency_hours)
        idempotency.prune(conn, before)
        stored_batches.forget(conn, before)
