"""The headers that answers carry, as the API's description names them; `serving/app.py` asks for them."""

from __future__ import annotations

from typing import Any, Final

from data.errors import Unavailable
from serving.errors import failure_of

# What sends them: serving/envelope.py, serving/errors.py, and serving/rates.py for a key that was recognised.
COMPONENTS: Final[dict[str, Any]] = {
    "X-Request-Id": {
        "description": "本次请求的编号：沿用调用方给出的，否则新编。报修时请提供。",
        "required": True,
        "schema": {"type": "string", "pattern": "^[A-Za-z0-9._-]{8,64}$"},
    },
    "Retry-After": {
        "description": "多少秒之后再试。",
        "required": True,
        "schema": {"type": "string", "pattern": "^[0-9]+$"},
    },
    "RateLimit": {
        "description": "`r`：该密钥此刻还可请求几次；`t`：几秒后恢复到满额（IETF RateLimit 草案）。",
        "required": True,
        "schema": {"type": "string"},
    },
    "RateLimit-Policy": {
        "description": "`q`：该密钥在 `w` 秒内最多可请求几次（IETF RateLimit 草案）。",
        "required": True,
        "schema": {"type": "string"},
    },
}
_RATE: Final = ("RateLimit", "RateLimit-Policy")
_RATE_LIMITED: Final = str(failure_of(Unavailable("rate_limited", "")).status)
_UNAVAILABLE: Final = str(failure_of(Unavailable("unavailable", "")).status)
# Asks for no key, and still says what is missing.
_UNKEYED_YET_UNAVAILABLE: Final = "/readyz"


def name_headers(path: str, operation: dict[str, Any], problem: dict[str, Any]) -> None:
    """Add to an operation's answers the headers that each carries, and the refusals that say when to return.

    `problem` is the response that a failure is. A refusal may come before the key is recognised: only
    success is sure to tell what the key has left.
    """
    rated = "x-roles" in operation
    for response in operation["responses"].values():
        response["headers"] = {
            **response.get("headers", {}),
            **_named("X-Request-Id", *(_RATE if rated else ())),
        }
    if rated:
        operation["responses"][_RATE_LIMITED] = _refusal("请求过于频繁。", problem)
    if rated or path == _UNKEYED_YET_UNAVAILABLE:
        operation["responses"][_UNAVAILABLE] = _refusal("服务暂不可用，未作任何处理。", problem)
    operation["responses"]["default"] = {**problem, "headers": _named("X-Request-Id")}


def _refusal(description: str, problem: dict[str, Any]) -> dict[str, Any]:
    return {**problem, "description": description, "headers": _named("X-Request-Id", "Retry-After")}


def _named(*names: str) -> dict[str, Any]:
    return {name: {"$ref": f"#/components/headers/{name}"} for name in names}
