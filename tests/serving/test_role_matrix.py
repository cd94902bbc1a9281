from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute
from sqlalchemy import select
from starlette.testclient import TestClient

from data.records import Role
from data.store import audit_log, credentials
from data.store.identifiers import new_id
from data.store.tables import metadata
from serving.access import SESSION_COOKIE, AllowVisitor
from serving.app import describe, routed
from serving.sessions import LIFETIME
from tests.serving.batch_uploads import NDJSON, sent, text
from tests.serving.staffed import (
    ROLES,
    Service,
    a_judgement,
    an_order,
    assert_problem,
    claimed,
    judged,
    post_urgent,
)

PUBLIC = {("get", "/livez"), ("get", "/readyz"), ("get", "/metrics")}
PUBLIC_PAGES = {
    ("get", "/"),
    ("get", "/login"),
    ("post", "/login"),
    ("get", "/static/{name}"),
    ("get", "/docs"),
    ("get", "/openapi.json"),
}
DESK: tuple[Role, ...] = ("reviewer", "adjudicator")
QUERIES = {"/v1/audit/inclusion": {"index": "0"}, "/v1/audit/consistency": {"old": "1"}}
JUDGEMENT_FIELDS = {name: value for name, value in a_judgement(0).items() if name != "fence"}

Operation = tuple[str, str]


def operations() -> dict[Operation, set[str]]:
    """Every operation of the API and the roles that its description names."""
    return {
        (method, path): set(operation.get("x-roles", ()))
        for path, methods in describe()["paths"].items()
        for method, operation in methods.items()
    }


def pages() -> dict[Operation, set[str]]:
    """Every route that the description leaves out, a page or a form, and the roles that may have it."""
    described = operations()
    return {
        operation: set(_visitors(route.dependant))
        for route in _leaves(routed().routes)
        for operation in ((method.lower(), route.path) for method in route.methods)
        if operation not in described
    }


def _leaves(routes: Iterable[Any]) -> Iterator[APIRoute]:
    for route in routes:
        if isinstance(route, APIRoute):
            yield route
        else:  # a route of any other kind would have no router below it, and be a finding
            yield from _leaves(route.original_router.routes)


def _visitors(dependant: Dependant) -> tuple[str, ...]:
    own = dependant.call.roles if isinstance(dependant.call, AllowVisitor) else ()
    return tuple(own) + tuple(role for below in dependant.dependencies for role in _visitors(below))


GUARDED = {operation: roles for operation, roles in operations().items() if roles}
GUARDED_PAGES = {operation: roles for operation, roles in pages().items() if roles}
each_operation = pytest.mark.parametrize(("method", "path"), GUARDED, ids=lambda part: part)
each_page = pytest.mark.parametrize(("method", "path"), GUARDED_PAGES, ids=lambda part: part)


def everything_kept(service: Service) -> dict[str, Any]:
    """All rows of all tables, and the size of the log."""
    with service.database.reading() as conn:
        rows = {
            name: [tuple(row) for row in conn.execute(select(table))]
            for name, table in metadata.tables.items()
        }
        return {**rows, "audit size": audit_log.size(conn)}


def ready_for(service: Service, role: Role, step: str) -> tuple[str, str, int]:
    """A fresh order and its review, on which this role can do `step` next: both ids, and the fence."""
    decision = post_urgent(service)
    review_id = decision["review_id"]
    holder = service.caller(role if role in DESK else "reviewer")
    fence = 0
    if step in ("release", "judgement"):
        fence = claimed(service, review_id, holder)
    elif step in ("resolve", "read"):
        fence = judged(service, review_id, holder)
    return decision["order_id"], review_id, fence


def request_for(service: Service, role: Role, operation: Operation) -> dict[str, Any]:
    """What would succeed, were the caller allowed: nothing but the role can be the reason of a refusal."""
    method, path = operation
    step = "read" if path.startswith("/v1/orders/") else path.rpartition("/")[2]
    order_id, review_id, fence = ready_for(service, role, step)
    batch_id = sent(service.caller("intake"), text(an_order()), new_id())["batch_id"]
    request: dict[str, Any] = {
        "method": method,
        "url": path.format(order_id=order_id, review_id=review_id, batch_id=batch_id),
        "params": QUERIES.get(path),
    }
    if path == "/v1/orders":
        request["json"] = an_order()
    elif operation == ("post", "/v1/batches"):
        request["content"] = text(an_order())
        request["headers"] = {**NDJSON, "Idempotency-Key": new_id()}
    elif step == "release":
        request["json"] = {"fence": fence}
    elif step in ("judgement", "resolve"):
        request["json"] = a_judgement(fence)
    return request


def form_for(service: Service, role: Role, operation: Operation) -> dict[str, Any]:
    """The same for a page; a form still lacks its token."""
    method, path = operation
    step = path.rpartition("/")[2]
    order_id, review_id, fence = ready_for(service, role, step)
    request: dict[str, Any] = {
        "method": method,
        "url": path.format(order_id=order_id, review_id=review_id),
    }
    if method == "post":
        version = {"claim": 1, "release": 2, "judgement": 2, "resolve": 3}.get(step, 0)
        fields = JUDGEMENT_FIELDS if step in ("judgement", "resolve") else {}
        request["data"] = {"fence": fence, "version": version, **fields}
    return request


def test_what_names_no_role_is_public_on_purpose() -> None:
    assert {operation for operation, roles in operations().items() if not roles} == PUBLIC
    assert {operation for operation, roles in pages().items() if not roles} == PUBLIC_PAGES
    assert all(roles <= set(ROLES) for roles in (*GUARDED.values(), *GUARDED_PAGES.values()))


@each_operation
def test_a_role_that_is_named_succeeds_and_every_other_is_refused(
    light: Service, method: str, path: str
) -> None:
    for role in ROLES:
        request = request_for(light, role, (method, path))
        before = everything_kept(light)
        answer = light.caller(role).request(**request)
        if role in GUARDED[method, path]:
            assert answer.status_code in (200, 201, 202), (role, answer.text)
        else:
            assert_problem(answer, 403, "forbidden")
            assert everything_kept(light) == before, role


@each_operation
def test_without_a_valid_key_nobody_gets_anywhere(light: Service, method: str, path: str) -> None:
    role: Role = next(role for role in ROLES if role in GUARDED[method, path])
    key_id, revoked = light.issue(role)
    with light.database.transaction() as conn:
        credentials.revoke(conn, key_id, light.clock(), "tests")
    _, expired = light.issue(role, expires_at=light.clock() - timedelta(seconds=1))
    unknown = f"mb_{key_id[:-12]}{'0' * 12}_{'0' * 64}"
    callers = {
        "key_missing": light.anyone(),
        "key_unknown": light.with_key(unknown),
        "key_revoked": light.with_key(revoked),
        "key_expired": light.with_key(expired),
    }
    request = request_for(light, role, (method, path))
    before = everything_kept(light)
    for code, caller in callers.items():
        answer = caller.request(**request)
        assert_problem(answer, 401, code)
        assert answer.headers["www-authenticate"].startswith("Bearer")
    assert everything_kept(light) == before
    # The very same request, with a key: it was the key that had been missing.
    assert light.caller(role).request(**request).status_code in (200, 201, 202)


def browser(service: Service, cookie: str | None) -> TestClient:
    cookies = {} if cookie is None else {SESSION_COOKIE: cookie}
    return service.anyone(headers={"Accept": "text/html"}, cookies=cookies, follow_redirects=False)


def session(service: Service, key_id: str, ago: timedelta = timedelta()) -> tuple[str, str]:
    """A cookie for a key, whatever the login page would say to its role, and the token for its forms."""
    sessions = service.app.state.desk.sessions
    issued, cookie = sessions.issue(key_id, service.clock() - ago)
    return cookie, sessions.form_token(issued)


def with_token(request: dict[str, Any], token: str) -> dict[str, Any]:
    return {**request, "data": {**request["data"], "form_token": token}} if "data" in request else request


@each_page
def test_a_page_opens_for_its_roles_and_no_other(light: Service, method: str, path: str) -> None:
    for role in ROLES:
        cookie, token = session(light, light.ids[role])
        request = with_token(form_for(light, role, (method, path)), token)
        before = everything_kept(light)
        answer = browser(light, cookie).request(**request)
        if role in GUARDED_PAGES[method, path]:
            assert answer.status_code == (200 if method == "get" else 303), (role, answer.text)
            left = path == "/logout"
            assert answer.headers.get("location", "").startswith("/login") == left
        else:
            assert answer.status_code == 403, (role, answer.text)
            assert "没有进行此操作的权限" in answer.text
            assert everything_kept(light) == before, role


@each_page
def test_without_a_valid_session_a_page_sends_to_the_login(light: Service, method: str, path: str) -> None:
    role: Role = next(role for role in ROLES if role in GUARDED_PAGES[method, path])
    good, token = session(light, light.ids[role])
    ended, _ = session(light, light.ids[role])
    sessions = light.app.state.desk.sessions
    sessions.end(sessions.read(ended, light.clock()), light.clock())
    revoked_id, _ = light.issue(role)
    with light.database.transaction() as conn:
        credentials.revoke(conn, revoked_id, light.clock(), "tests")
    visitors = {
        "nobody": None,
        "forged": good[:-4] + ("AAAA" if good[-4:] != "AAAA" else "BBBB"),
        "ended": ended,
        "expired": session(light, light.ids[role], LIFETIME)[0],
        "of a revoked key": session(light, revoked_id)[0],
        "of no key": session(light, "0198f0a2-7c1e-7d53-9f0e-4b1c2a3d4e5f")[0],
    }
    request = with_token(form_for(light, role, (method, path)), token)
    before = everything_kept(light)
    for who, cookie in visitors.items():
        answer = browser(light, cookie).request(**request)
        assert (answer.status_code, answer.headers["location"].partition("?")[0]) == (303, "/login"), who
    assert everything_kept(light) == before


@pytest.mark.parametrize("path", [path for method, path in GUARDED_PAGES if method == "post"])
def test_a_form_without_its_session_s_token_does_nothing(light: Service, path: str) -> None:
    role: Role = next(role for role in ROLES if role in GUARDED_PAGES["post", path])
    cookie, _ = session(light, light.ids[role])
    _, of_another = session(light, light.ids[role])
    request = form_for(light, role, ("post", path))
    before = everything_kept(light)
    for token in ("", of_another):
        answer = browser(light, cookie).request(**with_token(request, token))
        assert answer.status_code == 403
        assert "页面已失效" in answer.text
    assert everything_kept(light) == before


def test_an_api_key_opens_no_page_and_a_cookie_no_api(light: Service) -> None:
    with_key = light.caller("reviewer")
    with_key.headers["Accept"] = "text/html"
    answer = with_key.get("/review", follow_redirects=False)
    assert (answer.status_code, answer.headers["location"]) == (303, "/login?next=/review")
    cookie, _ = session(light, light.ids["reviewer"])
    assert_problem(browser(light, cookie).get("/v1/reviews"), 401, "key_missing")
