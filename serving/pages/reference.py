"""`/docs` and `/openapi.json`: the API described for developers, from the committed file, without scripts."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any, Final

from fastapi import APIRouter
from starlette.responses import Response

from serving.pages.frame import render

router = APIRouter()

OPENAPI: Final = Path(__file__).resolve().parent.parent / "openapi.json"


@cache
def _document() -> bytes:
    return OPENAPI.read_bytes()


@router.get("/openapi.json")
def get_openapi() -> Response:
    return Response(_document(), media_type="application/json")


@router.get("/docs")
def get_docs() -> Response:
    document: dict[str, Any] = json.loads(_document())
    operations = [
        (method.upper(), path, operation)
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    ]
    page = render("docs.html", document=document, operations=operations, type_of=_type_of)
    return Response(page, media_type="text/html")


def _type_of(schema: dict[str, Any]) -> str:
    """A schema's type in a few words; a named shape by its name."""
    if "$ref" in schema:
        return str(schema["$ref"]).rpartition("/")[2]
    if "contentSchema" in schema:
        return _type_of(schema["contentSchema"])
    if "anyOf" in schema:
        return " | ".join(_type_of(choice) for choice in schema["anyOf"])
    if "enum" in schema:
        return " | ".join(map(str, schema["enum"]))
    if schema.get("type") == "array":
        return f"{_type_of(schema.get('items', {}))}[]"
    return str(schema.get("format") or schema.get("type") or schema.get("const") or "any")
