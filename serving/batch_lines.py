"""Reads one line of an upload as strictly as `POST /v1/orders` reads its body; the uploads call it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Final

from fastapi.exceptions import RequestValidationError
from pydantic import TypeAdapter, ValidationError

from data.errors import BadInput, MingbianError
from data.settings import Settings
from serving import strict_json
from serving.batch_messages import BatchLine
from serving.errors import ProblemDetails, details_of
from serving.intake import refuse_long
from serving.messages import Name, NewOrder, member_names
from serving.ndjson import RawLine

_KNOWN: Final = member_names(BatchLine)
_LINE: Final = TypeAdapter(BatchLine)
_NAME: Final[TypeAdapter[str | None]] = TypeAdapter(Name | None)


@dataclass(frozen=True, slots=True)
class ReadLine:
    """An order, or the problem with the line; `client_ref` where it could be told."""

    client_ref: str | None
    outcome: NewOrder | ProblemDetails


def read(raw: RawLine, settings: Settings) -> ReadLine:
    """Total over all bytes."""
    value: Any = None
    try:
        if not raw.whole:
            raise BadInput("line_too_long", f"一行不得超过 {settings.body_limit} 字节")
        strict_json.check(raw.content, _KNOWN)
        value = json.loads(raw.content)
        line = _validated(value)
        refuse_long(line.content, settings.text_limit)
    except (MingbianError, RequestValidationError) as error:
        return ReadLine(_client_ref(value), details_of(error))
    order = NewOrder.model_construct(**{name: getattr(line, name) for name in NewOrder.model_fields})
    return ReadLine(line.client_ref, order)


def _validated(value: Any) -> BatchLine:
    try:
        return _LINE.validate_python(value, from_attributes=True)  # as FastAPI validates a body
    except ValidationError as error:
        faults = [{**fault, "loc": ("body", *fault["loc"])} for fault in error.errors(include_url=False)]
        raise RequestValidationError(faults) from error


def _client_ref(value: Any) -> str | None:
    try:
        return _NAME.validate_python(value.get("client_ref")) if isinstance(value, dict) else None
    except ValidationError:
        return None
