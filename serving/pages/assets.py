"""The few static files of the pages, each under a URL that names its content; none comes from elsewhere."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Final

from fastapi import APIRouter
from starlette.responses import Response

from data.errors import NotFound

router = APIRouter()

_STATIC: Final = Path(__file__).resolve().parent / "static"
_TYPES: Final = {
    "desk.css": "text/css; charset=utf-8",
    "htmx.min.js": "text/javascript; charset=utf-8",
    "mark.svg": "image/svg+xml",
}


@dataclass(frozen=True, slots=True)
class Asset:
    body: bytes
    media_type: str
    digest: str


@cache
def asset(name: str) -> Asset:
    """Raises:
    NotFound: there is no such file.
    """
    if name not in _TYPES:
        raise NotFound("route_not_found", "没有这个地址")
    if name == "htmx.min.js":
        body = (files("js_lib_htmx") / "static" / "htmx" / name).read_bytes()
    else:
        body = (_STATIC / name).read_bytes()
    return Asset(body, _TYPES[name], hashlib.sha256(body).hexdigest()[:16])


def asset_url(name: str) -> str:
    return f"/static/{name}?v={asset(name).digest}"


@router.get("/static/{name}")
def get_static(name: str) -> Response:
    found = asset(name)
    headers = {"Content-Type": found.media_type, "Cache-Control": "public, max-age=31536000, immutable"}
    return Response(found.body, headers=headers)
