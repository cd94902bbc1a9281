"""Structured logs, one JSON object a line on stderr, no order text; `serving/__main__.py` installs them."""

from __future__ import annotations

import json
import logging
import logging.config
from datetime import UTC, datetime
from typing import Any, Final

_STANDARD: Final = frozenset(vars(logging.makeLogRecord({}))) | {
    "message",
    "asctime",
    "taskName",
    "color_message",
}


class JsonLines(logging.Formatter):
    """Writes a record's message and its `extra` fields; an exception becomes its type and its frames."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "at": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        line |= {name: value for name, value in vars(record).items() if name not in _STANDARD}
        if record.exc_info and record.exc_info[0] is not None:
            # The exception's own message is left out: drivers and validators quote their input in it.
            line["error"] = record.exc_info[0].__qualname__
        return json.dumps(line, ensure_ascii=False, default=str)


def configure(level: str) -> None:
    """Send this service's and uvicorn's records to stderr; uvicorn's access line repeats ours and is off."""
    logging.config.dictConfig(
        {
            "version": 1,
            "disable_existing_loggers": False,
            "formatters": {"json": {"()": JsonLines}},
            "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "json"}},
            "root": {"level": level.upper(), "handlers": ["stderr"]},
            "loggers": {
                "uvicorn": {"level": level.upper(), "handlers": ["stderr"], "propagate": False},
                # Readiness asks for the migrations' state every few seconds, and each time it tells so.
                "alembic": {"level": "WARNING"},
                "uvicorn.access": {"level": "CRITICAL", "handlers": [], "propagate": False},
            },
        }
    )
