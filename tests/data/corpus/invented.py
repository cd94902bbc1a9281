"""Labelled orders made up on the spot; the tests of the corpus and of training call it."""

from __future__ import annotations

from typing import Any

from data.corpus.labels import LabelledOrder

_PLAIN: dict[str, Any] = {
    "pair": None,
    "title": "路灯不亮",
    "content": "柳荫巷口第三盏路灯已有五天不亮，夜里看不清台阶。",
    "verdict": "reasonable",
    "kind": "complaint",
    "subject": "urban_rural",
    "flags": (),
    "style": "operator",
    "why": "市政设施损坏",
    "region": "north",
}


def order(number: str, /, **changed: Any) -> LabelledOrder:
    """A reasonable order about a street lamp, but for what is changed."""
    return LabelledOrder(**{**_PLAIN, "id": number, **changed})


def row(number: str, /, **changed: Any) -> dict[str, Any]:
    """The same as a label file's line would hold it."""
    plain = {key: value for key, value in _PLAIN.items() if key != "region"}
    return {"id": number, **plain, "pair": "", "flags": [], **changed}
