"""All pages under one router; `serving/app.py` includes it."""

from __future__ import annotations

from fastapi import APIRouter

from serving.pages import assets, audit, login, reference, review

router = APIRouter()
for part in (assets, login, review, audit, reference):
    router.include_router(part.router)
