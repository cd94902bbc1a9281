"""When a rule fires: patterns that must match, must not match or do not count; `models/rules.py` uses it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Literal

import re2

Beside = Literal["sentence", "field"]

# What ends a sentence of canonical text. Patterns see a line break there, and `.` stops at it.
_SENTENCE_ENDS = str.maketrans(dict.fromkeys("。!?;", "\n"))
_BLANK = "\0"  # canonical text holds no control character, so no pattern finds it
_FRAGMENT = re.compile(r"\{([a-z][a-z_]*)\}")


class Expression:
    """Some `any` matches, outside every idiom, with each `all_of` and no `none` beside it.

    All patterns are RE2's, so the time is linear in the text, whatever they say.
    """

    def __init__(
        self,
        alternatives: tuple[str, ...],
        *,
        all_of: tuple[str, ...],
        none: tuple[str, ...],
        idioms: tuple[str, ...],
        beside: Beside,
    ) -> None:
        self._any = compiled(alternatives)
        self._all_of = tuple(compiled((pattern,)) for pattern in all_of)
        self._none = compiled(none) if none else None
        self._idioms = compiled(idioms) if idioms else None
        self._beside = beside

    def first(self, text: str) -> tuple[int, int] | None:
        """The first match that counts, half-open in code points of canonical text."""
        if self._beside == "sentence":
            text = text.translate(_SENTENCE_ENDS)
        if self._idioms is not None:
            text = self._idioms.sub(lambda match: _BLANK * len(match.group()), text)
        refused_until = 0
        for match in self._any.finditer(text):
            start, end = match.span()
            if start < refused_until:
                continue
            sentence_start = text.rfind("\n", refused_until, start) + 1
            sentence_end = text.find("\n", end)
            if sentence_end < 0:
                sentence_end = len(text)
            if self._admits(text[sentence_start:sentence_end]):
                return start, end
            refused_until = sentence_end
        return None

    def _admits(self, sentence: str) -> bool:
        if self._none is not None and self._none.search(sentence) is not None:
            return False
        return all(pattern.search(sentence) is not None for pattern in self._all_of)


def compiled(patterns: tuple[str, ...]) -> re2._Regexp:
    """The patterns as one.

    Raises:
        ValueError: one of them is not RE2 syntax.
    """
    options = re2.Options()
    options.log_errors = False
    options.never_capture = True
    options.max_mem = 16 << 20  # bytes; with less, RE2 gives up its fast automaton on the longest rules
    try:
        return re2.compile("|".join(f"(?:{pattern})" for pattern in patterns), options)
    except re2.error as error:
        raise ValueError("not RE2 syntax") from error


def expanded(pattern: str, fragments: Mapping[str, str]) -> str | None:
    """None where a fragment is unknown. `{3,5}` stays: a repetition, not a name."""
    if any(name not in fragments for name in _FRAGMENT.findall(pattern)):
        return None
    return _FRAGMENT.sub(lambda match: fragments[match[1]], pattern)
