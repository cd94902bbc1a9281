"""When a rule fires: patterns that must match, must not match or do not count; `models/rules.py` uses it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Literal

import re2

Beside = Literal["sentence", "field"]

_SENTENCE_ENDS = "。!?;"  # in canonical text
_BLANK = "\0"  # canonical text holds no control character, so no pattern finds it
# RE2 keeps what it learns of texts in a few megabytes a filter; the words of more expressions overfill
# them, and of fewer, there are more filters to run than that saves.
_MOST_TOGETHER = 8
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

    @property
    def pattern(self) -> str:
        """What every match matches; idioms, `all_of` and `none` only take matches away."""
        return str(self._any.pattern)

    def first(self, text: str) -> tuple[int, int] | None:
        """The first match that counts, half-open in code points of canonical text."""
        if self._beside == "sentence":
            text = _split(text)
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


class Shortlist:
    """Which of several expressions can match a text at all, told by words that each one cannot do without.

    A few searches find the words of all expressions, and most texts hold those of very few, while trying an
    expression takes up to two searches each. An expression that needs no word is on every list.
    """

    def __init__(self, expressions: Sequence[Expression]) -> None:
        groups = -(-len(expressions) // _MOST_TOGETHER)
        self._groups = [range(first, len(expressions), groups) for first in range(groups)]
        self._filters = [_filter([expressions[place].pattern for place in group]) for group in self._groups]

    def of(self, text: str) -> set[int]:
        """Places of the expressions to try; `first` finds nothing in this text for any other."""
        # An expression reads the text whole or split, with blanks in it: what it needs is in one of the two.
        read = f"{text}{_BLANK}{_split(text)}".encode()
        places: set[int] = set()
        for group, words in zip(self._groups, self._filters, strict=True):
            found = words.Match(read, potential=True) or ()
            # The filter's last pattern is the blank, which is always there: without it the search has failed.
            searched = len(group) in found
            places.update(group if not searched else (group[place] for place in found if place < len(group)))
        return places


def _filter(patterns: Sequence[str]) -> re2.Filter:
    made = re2.Filter()
    for pattern in (*patterns, re2.escape(_BLANK)):
        made.Add(pattern, _options())
    made.Compile()
    return made


def _split(text: str) -> str:
    """A line break for each end of a sentence: patterns see it, and `.` stops at it."""
    for end in _SENTENCE_ENDS:
        text = text.replace(end, "\n")
    return text


def compiled(patterns: tuple[str, ...]) -> re2._Regexp:
    """The patterns as one.

    Raises:
        ValueError: one of them is not RE2 syntax.
    """
    try:
        return re2.compile("|".join(f"(?:{pattern})" for pattern in patterns), _options())
    except re2.error as error:
        raise ValueError("not RE2 syntax") from error


def _options() -> re2.Options:
    options = re2.Options()
    options.log_errors = False
    options.never_capture = True
    options.max_mem = 16 << 20  # bytes; with less, RE2 gives up its fast automaton on the longest rules
    return options


def expanded(pattern: str, fragments: Mapping[str, str]) -> str | None:
    """None where a fragment is unknown. `{3,5}` stays: a repetition, not a name."""
    if any(name not in fragments for name in _FRAGMENT.findall(pattern)):
        return None
    return _FRAGMENT.sub(lambda match: fragments[match[1]], pattern)
