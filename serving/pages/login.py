"""`/login` and `/logout`: a person exchanges an API key for a signed cookie, and gives it back."""

from __future__ import annotations

import re
from typing import Annotated, Final

from fastapi import APIRouter, Depends, Form, Query, Request
from starlette.responses import RedirectResponse, Response

from data.errors import MingbianError, NotAllowed
from data.records import Role
from data.settings import Settings
from data.store import credentials
from serving.access import SESSION_COOKIE, AllowForm, Visitor, session_of
from serving.desk import Desk, DeskDep
from serving.errors import failure_of
from serving.pages.frame import render
from serving.sessions import LIFETIME

router = APIRouter()

_LOGIN_COOKIE: Final = "mingbian_login"
_OWN_PAGE: Final = re.compile(r"/(review|audit)(/[0-9a-f-]{36})?")
_HOMES: Final[dict[Role, str]] = {
    "reviewer": "/review",
    "adjudicator": "/review",
    "auditor": "/audit",
    "admin": "/audit",
}
_ROLES: Final[tuple[Role, ...]] = tuple(_HOMES)


@router.get("/")
def get_home(request: Request, desk: DeskDep) -> Response:
    session = session_of(request, desk)
    if session is None:
        return RedirectResponse("/login", 303)
    with desk.database.reading() as conn:
        caller = credentials.caller(conn, session.key_id, desk.now())
    return RedirectResponse(_HOMES.get(caller.role, "/login"), 303)


@router.get("/login")
def get_login(desk: DeskDep, next: Annotated[str, Query(max_length=200)] = "/") -> Response:  # noqa: A002
    return _form(desk, next, None)


@router.post("/login")
def post_login(
    request: Request,
    desk: DeskDep,
    key: Annotated[str, Form(max_length=200)] = "",
    form_token: Annotated[str, Form(max_length=200)] = "",
    next: Annotated[str, Form(max_length=200)] = "/",  # noqa: A002
) -> Response:
    """A new session every time, whatever cookie came along: there is no id to fix beforehand."""
    now = desk.now()
    try:
        if not desk.sessions.login_token_valid(form_token, request.cookies.get(_LOGIN_COOKIE, ""), now):
            raise NotAllowed("page_expired", "登录页已失效，请重试")
        with desk.database.reading() as conn:
            caller = credentials.authenticate(conn, key.strip(), now)
        if caller.role not in _HOMES:
            raise NotAllowed("forbidden", "这把密钥的角色没有可用的页面，请使用复核、裁定、审计或管理密钥")
    except NotAllowed as error:
        return _form(desk, next, error)
    before = session_of(request, desk)
    if before is not None:
        desk.sessions.end(before, now)
    _, cookie = desk.sessions.issue(caller.id, now)
    request.state.caller_id = caller.id
    target = next if _OWN_PAGE.fullmatch(next) else _HOMES[caller.role]
    response = RedirectResponse(target, 303)
    _set_cookie(response, desk.settings, SESSION_COOKIE, cookie, "/", int(LIFETIME.total_seconds()))
    response.delete_cookie(_LOGIN_COOKIE, path="/login")
    return response


@router.post("/logout")
def post_logout(desk: DeskDep, visitor: Annotated[Visitor, Depends(AllowForm(*_ROLES))]) -> Response:
    desk.sessions.end(visitor.session, desk.now())
    response = RedirectResponse("/login", 303)
    response.delete_cookie(SESSION_COOKIE, path="/")
    return response


def _form(desk: Desk, target: str, error: MingbianError | None) -> Response:
    token = desk.sessions.login_token(desk.now())
    status = 200 if error is None else failure_of(error).status
    page = render("login.html", form_token=token, next=target, error=error)
    response = Response(page, status, media_type="text/html")
    _set_cookie(response, desk.settings, _LOGIN_COOKIE, token, "/login", 3600)
    return response


def _set_cookie(
    response: Response, settings: Settings, name: str, value: str, path: str, seconds: int
) -> None:
    response.set_cookie(
        name,
        value,
        max_age=seconds,
        path=path,
        httponly=True,
        samesite="strict",
        secure=settings.environment == "production",
    )
