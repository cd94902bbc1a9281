"""HEAD wherever GET is a probe or a page: watchers and link checkers ask so; `serving/app.py` adds it."""

from __future__ import annotations

from typing import Final

from starlette.types import ASGIApp, Receive, Scope, Send

# What is read of an order is logged as read: nobody is to ask for it and throw it away.
_WITHOUT_HEAD: Final = "/v1/"


def has_head(path: str) -> bool:
    """Whether HEAD is answered there if GET is."""
    return not path.startswith(_WITHOUT_HEAD)


class HeadRequests:
    """Pure ASGI middleware, next to the routes: to them it is GET, and the server leaves the body out."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "HEAD" or not has_head(scope["path"]):
            await self.app(scope, receive, send)
            return
        # A copy: by its own, the server sees that no body is to be sent.
        asked = {**scope, "method": "GET"}
        try:
            await self.app(asked, receive, send)
        finally:
            if "route" in asked:  # what the access line and the metrics name
                scope["route"] = asked["route"]
