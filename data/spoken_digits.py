"""Writes numbers that a caller read out digit by digit in Arabic digits; canonical.py calls it."""

from __future__ import annotations

import re
from itertools import pairwise

_SPOKEN = "零〇一二三四五六七八九幺"
_TO_DIGIT = str.maketrans(_SPOKEN, "001234567891")
_NUMBER = re.compile(rf"[0-9{_SPOKEN}](?:[ -]?[0-9{_SPOKEN}]){{2,}}")
_COUNTING = frozenset("十百千万亿")


def write_digits(text: str) -> str:
    """`text`, of the same length, with 幺三八零零… as 13800…; doing it again changes nothing.

    A run counts as read out when it holds five spoken digits, or three digits with a 幺, which is said for
    nothing else. Left alone are amounts (next to 十百千万亿), lists and floors (一二三五六: ascending all the
    way, without 零 or 幺) and rows of one character, which are drawn lines (一一一一一).
    """
    return _NUMBER.sub(_digits, text)


def _digits(found: re.Match[str]) -> str:
    run = found[0]
    spoken = sum(character in _SPOKEN for character in run)
    digits = [int(character) for character in run.translate(_TO_DIGIT) if character.isdigit()]
    read_out = spoken >= 5 or "幺" in run
    text, start, end = found.string, found.start(), found.end()
    amount = text[start - 1 : start] in _COUNTING or text[end : end + 1] in _COUNTING
    listed = not set(run) & set("零〇幺") and all(a < b for a, b in pairwise(digits))
    if not read_out or amount or listed or len(set(digits)) == 1:
        return run
    return run.translate(_TO_DIGIT)
