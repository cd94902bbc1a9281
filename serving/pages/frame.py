"""Renders templates: the one home of the template engine, for every page and for errors shown as pages."""

from __future__ import annotations

from datetime import datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any, Final

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from serving import wording
from serving.access import Visitor
from serving.desk import BEIJING
from serving.pages.assets import asset_url

_TEMPLATES: Final = Path(__file__).resolve().parent / "templates"


def render(template: str, visitor: Visitor | None = None, **values: Any) -> str:
    """A whole page. Everything from outside is escaped by the engine; nothing is marked safe."""
    return _environment().get_template(template).render(visitor=visitor, **values)


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals |= {
        "asset": asset_url,
        "dispositions": wording.DISPOSITIONS,
        "disposition_meanings": wording.DISPOSITION_MEANINGS,
        "effects": wording.EFFECTS,
        "events": wording.EVENTS,
        "fallbacks": wording.FALLBACKS,
        "reasons": wording.REASONS,
        "roles": wording.ROLES,
        "sources": wording.SOURCES,
        "statuses": wording.STATUSES,
        "verdicts": wording.VERDICTS,
    }
    environment.filters |= {
        "beijing": beijing,
        "iso": datetime.isoformat,
        "duration": duration,
        "percent": percent,
    }
    return environment


def beijing(at: datetime, seconds: bool = False) -> str:
    """Wall-clock time in China, where the desk stands."""
    return at.astimezone(BEIJING).strftime("%Y-%m-%d %H:%M:%S" if seconds else "%Y-%m-%d %H:%M")


def duration(length: timedelta) -> str:
    """A length of time as people say it: 刚刚, 12 分钟, 3 小时 5 分, 2 天."""
    minutes = int(length.total_seconds()) // 60
    if minutes < 1:
        return "不到 1 分钟"
    if minutes < 60:
        return f"{minutes} 分钟"
    if minutes < 24 * 60:
        return f"{minutes // 60} 小时 {minutes % 60} 分"
    return f"{minutes // (24 * 60)} 天"


def percent(probability: float) -> str:
    """To a tenth of a per cent, and never rounded up to certainty."""
    shown = f"{probability * 100:.1f}"
    if shown == "100.0" and probability < 1:
        return "> 99.9%"
    if shown == "0.0" and probability > 0:
        return "< 0.1%"
    return f"{shown}%"
