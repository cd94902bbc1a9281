"""Reads JSON as narrowly as RFC 8259 and RFC 7493 allow; `serving/ingress.py` calls it before any parser."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final, NoReturn

from data.errors import BadInput, Fault

MAX_DEPTH: Final = 20
MAX_INTEGER: Final = 2**53 - 1
_BOM: Final = b"\xef\xbb\xbf"
# The closing quote is optional so that an unterminated string is consumed once: a pattern that fails
# there would be tried again from every escaped quote inside it, in quadratic time.
_STRUCTURE: Final = re.compile(rb'"(?:[^"\\]|\\.)*"?|[\[\]{}]', re.DOTALL)
_SURROGATE: Final = re.compile("[\ud800-\udfff]")

Known = frozenset[str]


@dataclass(frozen=True, slots=True)
class _Object:
    """An object's members as they stood, repeated names included."""

    members: list[tuple[str, Any]]


class _Unrepresentable:
    """Stands where a number stood that no receiver reads alike: NaN, Infinity, or beyond 2**53 - 1."""


def check(body: bytes, known: Known) -> None:
    """Refuse a body that two JSON readers could understand differently, or that cannot be stored as text.

    Args:
        body: the whole request body.
        known: member names that may appear in a pointer; all others are the caller's words, so a pointer
            stops above them.

    Raises:
        BadInput: with a pointer (RFC 6901) to every place found wrong, at most 20.
    """
    if body.startswith(_BOM):
        _refuse("json_byte_order_mark", "请求体不得以字节顺序标记（BOM）开头")
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError:
        _refuse("json_not_utf8", "请求体不是合法的 UTF-8 文本")
    if _depth(body) > MAX_DEPTH:
        _refuse("json_too_deep", f"JSON 嵌套不得超过 {MAX_DEPTH} 层")
    try:
        value = json.loads(
            text,
            object_pairs_hook=_Object,
            parse_constant=lambda _: _Unrepresentable(),
            parse_int=_integer,
            parse_float=_float,
        )
    except json.JSONDecodeError as error:
        _refuse("json_malformed", f"JSON 语法错误：第 {error.lineno} 行第 {error.colno} 列")
    found = list(_faults(value, "", known))
    if found:
        code = found[0][0]
        raise BadInput(code, found[0][1].detail, tuple(fault for _, fault in found[:20]))


def _refuse(code: str, detail: str) -> NoReturn:
    raise BadInput(code, detail, (Fault("", detail),)) from None


def _depth(body: bytes) -> int:
    """Deepest nesting, counted without recursion and before the recursive parser sees the body."""
    depth = deepest = 0
    for token in _STRUCTURE.finditer(body):
        match token.group()[:1]:
            case b"[" | b"{":
                depth += 1
                deepest = max(deepest, depth)
            case b"]" | b"}":
                depth -= 1
    return deepest


def _integer(digits: str) -> int | _Unrepresentable:
    if len(digits) > 17:  # before int(): CPython refuses, and takes quadratic time over, thousands of digits
        return _Unrepresentable()
    number = int(digits)
    return number if abs(number) <= MAX_INTEGER else _Unrepresentable()


def _float(digits: str) -> float | _Unrepresentable:
    number = float(digits)
    return number if math.isfinite(number) else _Unrepresentable()


def _faults(value: Any, pointer: str, known: Known) -> Iterator[tuple[str, Fault]]:
    match value:
        case _Unrepresentable():
            yield "json_number", Fault(pointer, "数值无法准确表示（NaN、Infinity 或超出 ±(2^53−1)）")
        case str():
            yield from _text_faults(value, pointer)
        case list():
            for index, item in enumerate(value):
                yield from _faults(item, f"{pointer}/{index}", known)
        case _Object(members):
            seen: set[str] = set()
            for name, item in members:
                below = f"{pointer}/{name}" if name in known else pointer
                if name in seen:
                    yield "json_duplicate_key", Fault(below, "同一对象中字段名重复")
                seen.add(name)
                yield from _text_faults(name, pointer)
                yield from _faults(item, below, known)


def _text_faults(text: str, pointer: str) -> Iterator[tuple[str, Fault]]:
    if "\0" in text:
        yield "text_nul", Fault(pointer, "文本中含有空字符（U+0000）")
    if _SURROGATE.search(text):
        yield "text_lone_surrogate", Fault(pointer, "文本中含有不成对的代理码位，无法作为文字保存")
