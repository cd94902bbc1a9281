"""Who may: turns an API key or a page's cookie into a caller with an allowed role, for every route."""

from dataclasses import dataclass
from typing import Annotated, Final

from fastapi import Depends, Form, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from data.errors import NotAllowed, Unavailable
from data.records import Caller, Role
from data.store import credentials
from serving.desk import Desk, DeskDep
from serving.sessions import Session

SESSION_COOKIE: Final = "mingbian_session"

_bearer = HTTPBearer(
    auto_error=False,
    description="接口密钥：`Authorization: Bearer mb_…`。An API key; its role decides what it may do.",
)


class Allow:
    """A dependency that lets in callers of these roles, by API key."""

    def __init__(self, *roles: Role) -> None:
        self.roles = roles

    def __call__(
        self,
        request: Request,
        desk: DeskDep,
        given: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)],
    ) -> Caller:
        if given is None:
            raise NotAllowed("key_missing", "请在 Authorization 请求头中提供接口密钥")
        with desk.database.reading() as conn:
            caller = credentials.authenticate(conn, given.credentials, desk.now())
        try:
            request.state.rate = desk.rates.take(caller.id).headers
        except Unavailable:
            desk.metrics.refused("rate_limit")
            raise
        return _admitted(request, caller, self.roles)


@dataclass(frozen=True, slots=True)
class Visitor:
    """A person on the pages: who, in which session, and the token that their forms must carry."""

    caller: Caller
    session: Session
    form_token: str


class AllowVisitor:
    """Lets in people of these roles, by session cookie; the key behind it may have been revoked since."""

    def __init__(self, *roles: Role) -> None:
        self.roles = roles

    def __call__(self, request: Request, desk: DeskDep) -> Visitor:
        session = session_of(request, desk)
        if session is None:
            raise NotAllowed("session_missing", "请先登录")
        with desk.database.reading() as conn:
            caller = credentials.caller(conn, session.key_id, desk.now())
        _admitted(request, caller, self.roles)
        return Visitor(caller, session, desk.sessions.form_token(session))


class AllowForm(AllowVisitor):
    """The same for a form: it must carry the session's token, or another site may have sent it."""

    def __call__(
        self, request: Request, desk: DeskDep, form_token: Annotated[str, Form(max_length=100)] = ""
    ) -> Visitor:
        visitor = super().__call__(request, desk)
        if not desk.sessions.form_token_valid(visitor.session, form_token):
            raise NotAllowed("page_expired", "页面已失效，请返回刷新后重试")
        return visitor


def session_of(request: Request, desk: Desk) -> Session | None:
    cookie = request.cookies.get(SESSION_COOKIE)
    return None if cookie is None else desk.sessions.read(cookie, desk.now())


def _admitted(request: Request, caller: Caller, roles: tuple[Role, ...]) -> Caller:
    request.state.caller_id = caller.id
    if caller.role not in roles:
        raise NotAllowed("forbidden", "您的角色没有进行此操作的权限")
    return caller
