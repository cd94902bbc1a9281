"""Turns every error into an RFC 9457 problem or a page; the only file that knows status codes."""

from __future__ import annotations

import json
import logging
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import quote

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Match

from data.errors import BadInput, Conflict, MingbianError, NotAllowed, NotFound, Unavailable
from serving.head_requests import has_head
from serving.pages.frame import render

SEE_OTHER: Final = 303
PROBLEM: Final = "application/problem+json"

_METHODS: Final = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")

_log = logging.getLogger("mingbian.errors")

_BY_CODE: Final[Mapping[str, int]] = {
    "body_too_large": 413,
    "line_too_long": 413,
    "upload_stalled": 408,
    "body_too_slow": 408,
    "unsupported_media_type": 415,
    "content_encoding": 415,
    "request_malformed": 400,
    "page_expired": 403,
    "version_stale": 412,
    "forbidden": 403,
    "rate_limited": 429,
}
_TITLES: Final[Mapping[int, str]] = {
    400: "请求无法读取",
    401: "需要有效的密钥",
    403: "没有权限",
    404: "没有找到",
    405: "方法不被支持",
    408: "上传中断",
    409: "与当前状态冲突",
    412: "内容已被更新",
    413: "请求体过大",
    415: "内容类型不被支持",
    422: "请求内容有误",
    429: "请求过于频繁",
    500: "服务内部错误",
    503: "服务暂不可用",
}
_KINDS: Final[Mapping[str, str]] = {
    "missing": "缺少必填字段",
    "extra_forbidden": "含有接口未定义的字段",
    "json_invalid": "不是合法的 JSON",
    "string_type": "应为字符串",
    "string_pattern_mismatch": "格式不符合要求",
    "int_type": "应为整数",
    "int_parsing": "应为整数",
    "int_from_float": "应为整数",
    "model_attributes_type": "应为 JSON 对象",
    "literal_error": "不在允许的取值之内",
    "enum": "不在允许的取值之内",
    "timezone_aware": "时间须带时区偏移（RFC 3339）",
    "datetime_parsing": "不是合法的 RFC 3339 时间",
    "datetime_from_date_parsing": "不是合法的 RFC 3339 时间",
}


class ProblemItem(BaseModel):
    """One thing wrong, and where."""

    pointer: str | None = Field(
        default=None, description="请求体内的位置（JSON Pointer, RFC 6901）；空串指整个请求体。"
    )
    parameter: str | None = Field(default=None, description="有误的路径、查询或请求头参数名。")
    detail: str = Field(description="中文说明；从不复述调用方提交的内容。")


class ProblemDetails(BaseModel):
    """RFC 9457 problem details. `code` is stable; `detail` is Chinese, for people, and never echoes input."""

    type: str = Field(description="稳定的问题类型 URI 路径。", examples=["/problems/order_not_found"])
    title: str
    status: int
    code: str = Field(description="稳定的机器可读代码。Stable, switch on this.", examples=["order_not_found"])
    detail: str
    errors: list[ProblemItem] = []


class Problem(ProblemDetails):
    """A request's problem. `code` is stable; `detail` is Chinese, for people, and never echoes input."""

    request_id: str = Field(description="与响应头 X-Request-Id 相同；报修时请提供。")


@dataclass(frozen=True, slots=True)
class Failure:
    """What went wrong, ready to be written either way."""

    status: int
    code: str
    detail: str
    items: Sequence[ProblemItem] = ()
    headers: Mapping[str, str] = field(default_factory=dict)


def failure_of(error: Exception) -> Failure:
    """Name the status of any exception; one that nobody foresaw is a 500 that says nothing of its cause."""
    match error:
        case MingbianError():
            return _foreseen(error)
        case RequestValidationError():
            items = [_item(fault) for fault in error.errors()]
            return Failure(422, "request_invalid", "请求内容不符合接口约定，详见 errors", items)
        case HTTPException(status_code=404):
            return Failure(404, "route_not_found", "没有这个地址")
        case HTTPException(status_code=405):
            return Failure(405, "method_not_allowed", "该地址不支持此方法", headers=dict(error.headers or {}))
        case HTTPException() if error.status_code < 500:
            return Failure(400, "request_malformed", "请求无法读取")
        case _:
            return Failure(500, "internal_error", "服务出现未预料的错误，已记录；请稍后重试")


def _foreseen(error: MingbianError) -> Failure:
    items: Sequence[ProblemItem] = ()
    headers: dict[str, str] = {}
    match error:
        case NotFound():
            status = 404
        case Conflict():
            status = _BY_CODE.get(error.code, 409)
        case NotAllowed():
            status = _BY_CODE.get(error.code, 401)
            if status == 401:
                headers["WWW-Authenticate"] = 'Bearer realm="mingbian"'
        case BadInput():
            status = 400 if error.code.startswith(("json_", "text_")) else _BY_CODE.get(error.code, 422)
            items = [ProblemItem(pointer=fault.pointer, detail=fault.detail) for fault in error.faults]
            if error.code in ("body_too_large", "body_too_slow", "upload_stalled"):
                headers["Connection"] = "close"  # the rest of the body was never read
        case Unavailable():
            status = _BY_CODE.get(error.code, 503)
            headers["Retry-After"] = str(error.retry_after)
        case _:
            status = 500
    return Failure(status, error.code, error.detail, items, headers)


def _item(fault: Mapping[str, Any]) -> ProblemItem:
    place, *path = fault["loc"]
    kind = fault["type"]
    if kind == "extra_forbidden":
        path = path[:-1]  # the unknown name is the caller's word
    match kind, fault.get("ctx", {}):
        case "string_too_long", {"max_length": limit}:
            detail = f"不得超过 {limit} 个字符"
        case "string_too_short", {"min_length": limit}:
            detail = f"不得少于 {limit} 个字符"
        case "greater_than_equal", {"ge": bound}:
            detail = f"不得小于 {bound}"
        case "less_than_equal", {"le": bound}:
            detail = f"不得大于 {bound}"
        case "value_error", {"error": ValueError() as error}:
            detail = str(error)
        case _:
            detail = _KINDS.get(kind, "取值不符合要求")
    if place == "body":
        return ProblemItem(pointer="".join(f"/{part}" for part in path), detail=detail)
    return ProblemItem(parameter=str(path[0]) if path else str(place), detail=detail)


def details_of(error: Exception) -> ProblemDetails:
    """The problem that an error is, for what is no answer of its own: one line of many."""
    return _details(failure_of(error))


def answer(request: Request, error: Exception) -> Response:
    """The response for an error: a page where a person is looking at pages, else a problem."""
    failure = failure_of(error)
    request_id: str = request.scope.get("state", {}).get("request_id", "")
    if failure.status >= 500 and not isinstance(error, MingbianError):
        record(error, request_id=request_id)
    if _wants_page(request):
        return _page(request, failure, request_id)
    problem = Problem(**dict(_details(failure)), request_id=request_id)
    body = json.dumps(problem.model_dump(exclude_none=True), ensure_ascii=False).encode()
    return Response(body, failure.status, failure.headers, PROBLEM)


def _details(failure: Failure) -> ProblemDetails:
    return ProblemDetails(
        type=f"/problems/{failure.code}",
        title=_TITLES.get(failure.status, "请求失败"),
        status=failure.status,
        code=failure.code,
        detail=failure.detail,
        errors=list(failure.items),
    )


def _page(request: Request, failure: Failure, request_id: str) -> Response:
    if failure.status == 401 and request.url.path != "/login":
        came_from = request.url.path if request.method == "GET" else "/"
        target = f"/login?next={quote(came_from)}"
        if "hx-request" in request.headers:
            return Response(status_code=failure.status, headers={"HX-Redirect": target})
        return RedirectResponse(target, SEE_OTHER)
    title = _TITLES.get(failure.status, "请求失败")
    page = render("error.html", title=title, failure=failure, request_id=request_id)
    return Response(page, failure.status, failure.headers, "text/html; charset=utf-8")


def _wants_page(request: Request) -> bool:
    machine = request.url.path.startswith(("/v1/", "/livez", "/readyz", "/metrics"))
    return not machine and "text/html" in request.headers.get("accept", "")


def _allowed(request: Request) -> str:
    """Every method that the address takes (RFC 9110, 10.2.1): the router names those of one of its routes."""
    asked = ((method, {**request.scope, "method": method}) for method in _METHODS)
    routes = request.app.routes
    taken = {
        method for method, scope in asked if any(route.matches(scope)[0] is Match.FULL for route in routes)
    }
    if "GET" in taken and has_head(request.url.path):
        taken.add("HEAD")
    return ", ".join(method for method in _METHODS if method in taken)


def record(error: Exception, **where: str) -> None:
    """Log where it happened but not the message: a driver's or validator's message may quote an order."""
    frames = traceback.extract_tb(error.__traceback__)
    stack = [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in frames]
    _log.error("unexpected error", extra={**where, "error": type(error).__qualname__, "frames": stack})


def install(app: FastAPI) -> None:
    """Let the application answer its foreseen errors here; the envelope answers the unforeseen."""

    async def handle(request: Request, error: Exception) -> Response:
        response = answer(request, error)
        if "allow" in response.headers:
            response.headers["Allow"] = _allowed(request)
        return response

    for kind in (MingbianError, RequestValidationError, HTTPException):
        app.add_exception_handler(kind, handle)
