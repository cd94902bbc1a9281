"""The bundle's tokenizer with a table in front of it; `models/encoder_classifier.py` turns readings into ids.

Of a Chinese work order nearly every character is a piece by itself, whatever stands beside it, so that one
look-up gives its id. No rule of the tokenizer is written down a second time: which characters those are,
and what everything between them becomes, is asked of the tokenizer itself.
"""

from __future__ import annotations

import json
import re
import string
from collections import Counter
from collections.abc import Iterable, Set
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

# The steps that `training/vocabulary.py` gives every tokenizer. Each changes one character at a time or
# cuts at characters of a class; hence a text may be cut beside any such character and its parts read apart.
_NORMALIZER = {
    "type": "BertNormalizer",
    "clean_text": False,
    "handle_chinese_chars": True,
    "strip_accents": False,
    "lowercase": True,
}
_PRE_TOKENIZER = {
    "type": "Sequence",
    "pretokenizers": [{"type": "BertPreTokenizer"}, {"type": "Digits", "individual_digits": True}],
}
_ADDED_FLAGS = ("single_word", "lstrip", "rstrip", "normalized")  # none of which such a tokenizer sets

_MARKS = 3  # [CLS], and [SEP] twice
_CODE_POINTS = 0x10000  # characters beyond are rare in work orders, and would make the table 17 times as long
_SPACES = string.whitespace + "\u00a0\u3000"
_LETTER = "a"  # put between characters in question, since one that joins words would join it
_REMEMBERED_PARTS = 4096
_REMEMBERED_LENGTH = 64  # characters; with the line above it bounds the memory that parts take


@dataclass(frozen=True, slots=True)
class Encoded:
    """`[CLS] title [SEP] content [SEP]`, unpadded: one row of a classifier's input."""

    ids: list[int]
    segments: list[int]  # as long as ids: 0 as far as the first [SEP], 1 after it
    truncated: bool  # whether anything was cut


@dataclass(frozen=True, slots=True)
class _Table:
    alone: NDArray[np.int32]  # code point -> id of the one piece that it always is, or -1
    asked: re.Pattern[str]  # finds the parts of a text that the tokenizer must be asked about
    cls: int
    sep: int


class TableTokenizer:
    """Gives the ids, segments and truncation of `Tokenizer.encode` for every pair of strings, only sooner.

    That holds for any tokenizer, but one of another shape than `training/vocabulary.py` makes is asked
    about every pair as a whole and gains nothing. Threads may share one object.
    """

    def __init__(self, tokenizer_json: str, max_tokens: int) -> None:
        """Cut pairs to `max_tokens` ids, the three marks included; a limit below three cuts nothing.

        The library reads so small a limit like that. It raises its own errors for JSON that it cannot read.
        """
        self._tokenizer = Tokenizer.from_str(tokenizer_json)
        self._tokenizer.no_truncation()  # a part that is asked about must come back whole
        self._table = _table(self._tokenizer)
        if self._table is None:
            self._tokenizer.enable_truncation(max_tokens)
        self._room = max_tokens - _MARKS
        self._remembered = lru_cache(_REMEMBERED_PARTS)(self._ask)

    def encode(self, title: str, content: str) -> Encoded:
        """Raises TypeError for a lone surrogate: the library takes Unicode text alone."""
        table = self._table
        if table is None:
            encoding = self._tokenizer.encode(title, content)
            return Encoded(encoding.ids, encoding.type_ids, bool(encoding.overflowing))
        first, second = self._ids(table, title), self._ids(table, content)
        truncated = 0 <= self._room < len(first) + len(second)
        if truncated:
            kept = _longest_first(len(first), len(second), self._room)
            first, second = first[: kept[0]], second[: kept[1]]
        ids = [table.cls, *first, table.sep, *second, table.sep]
        segments = [0] * (len(first) + 2) + [1] * (len(second) + 1)
        return Encoded(ids, segments, truncated)

    def _ids(self, table: _Table, text: str) -> list[int]:
        code_points = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32)
        # Clipping sends characters past the table to its last entry; they are among those asked about.
        alone: list[int] = table.alone.take(code_points, mode="clip").tolist()
        ids: list[int] = []
        done = 0
        for found in table.asked.finditer(text):
            start, end = found.span()
            ids += alone[done:start]
            ids += self._remembered(found[0]) if end - start <= _REMEMBERED_LENGTH else self._ask(found[0])
            done = end
        return ids + alone[done:]

    def _ask(self, part: str) -> list[int]:
        return self._tokenizer.encode(part, add_special_tokens=False).ids


def _longest_first(first: int, second: int, room: int) -> tuple[int, int]:
    """How many ids of either stay when both exceed the room: half of it each, unless one needs less.

    An odd one out goes to the longer, and to the second where they are equally long, as strategy
    `longest_first` of the tokenizers library has it (`truncate_encodings`).
    """
    shorter = min(first, second, room // 2)
    return (room - shorter, shorter) if first > second else (shorter, room - shorter)


def _table(tokenizer: Tokenizer) -> _Table | None:
    """The table of a tokenizer of our shape; None for any other."""
    shape: dict[str, Any] = json.loads(tokenizer.to_str())
    model, marks, added = shape["model"], shape["post_processor"], shape["added_tokens"]
    if (
        shape["normalizer"] != _NORMALIZER
        or shape["pre_tokenizer"] != _PRE_TOKENIZER
        or shape["padding"] is not None
        or marks is None
        or marks["type"] != "BertProcessing"
        or model["type"] != "WordPiece"
        or model["unk_token"] not in model["vocab"]
        or any(token[flag] for token in added for flag in _ADDED_FLAGS)
    ):
        return None
    pieces = {piece for piece in model["vocab"] if len(piece) == 1 and ord(piece) < _CODE_POINTS}
    alone, spaces = _apart(tokenizer, sorted(pieces.union(_SPACES)))
    # Added tokens are found in the raw text, before all else. While each begins with a character that
    # stands alone, no part between such characters can hold the beginning of one.
    contents = [token["content"] for token in added]
    openings = {content[:1] for content in contents}
    if not openings < alone.keys():  # a proper part of them, for `_asked` needs one that opens nothing
        return None
    by_code_point = np.full(_CODE_POINTS, -1, dtype=np.int32)
    by_code_point[[ord(character) for character in alone]] = list(alone.values())
    return _Table(
        by_code_point, _asked(alone.keys(), openings, spaces, contents), marks["cls"][1], marks["sep"][1]
    )


def _apart(tokenizer: Tokenizer, characters: Iterable[str]) -> tuple[dict[str, int], list[str]]:
    """Those that are one piece, with its id, and those that are none: in our shape, that only part words."""
    question = _LETTER + "".join(character + _LETTER for character in characters)
    answer = tokenizer.encode(question, add_special_tokens=False)
    pieces_of_word = Counter(answer.word_ids)
    alone: dict[str, int] = {}
    covered: set[int] = set()
    for piece, word, (start, end) in zip(answer.ids, answer.word_ids, answer.offsets, strict=True):
        covered.update(range(start, end))
        if start % 2 and pieces_of_word[word] == 1:
            alone[question[start]] = piece
    spaces = [question[place] for place in range(1, len(question), 2) if place not in covered]
    return alone, spaces


def _asked(
    alone: Set[str], openings: Set[str], spaces: Iterable[str], added: Iterable[str]
) -> re.Pattern[str]:
    """Added tokens, the longest first as in the library, and runs of characters not in the table.

    What is left is a space, or a character that opens an added token elsewhere but not here.
    """
    tokens = sorted(added, key=len, reverse=True)
    choices = [*map(re.escape, tokens), f"[^{_escaped(alone)}{_escaped(spaces)}]+", "."]
    known = _escaped(alone - openings)
    # The look-ahead says nothing new, but lets the search pass known characters many times faster.
    return re.compile(f"(?=[^{known}])(?:{'|'.join(choices)})", re.DOTALL)


def _escaped(characters: Iterable[str]) -> str:
    return re.escape("".join(characters))
