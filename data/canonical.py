"""Text as everything downstream sees it, with a way back to the original; masking, triage, training call it.

The steps, each of which the next one relies on:

1. Dropped: lone surrogates, controls, format characters (zero-width, bidi, soft hyphen, tags), variation
   selectors, enclosing marks (the keycap of 1️⃣) and invisible fillers. White space of any kind becomes a
   space, decimal digits of any script become 0-9, and a circled number gets brackets: ① is "(1)", since a
   bare 1 would run into a telephone number behind it.
2. NFKC (UAX #15). Full-width ，！？：；（） therefore become ASCII while 。、《》 stay: senders type both
   forms at random, the one form is what Unicode defines, and the encoder is trained on it.
3. Traditional to Simplified, character by character.
4. Runs of spaces become one, and the ends are trimmed.
5. Numbers read out digit by digit (幺三八零零…) become Arabic digits. Letter case is left alone.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

import opencc

from data.spoken_digits import write_digits

# Names the algorithm and OpenCC's character table; a test pins the table's digest, and a change of
# either needs the next number, because a model reads only the text it was trained on.
CANONICAL_VERSION = "canonical-1"

# The Stream-Safe bound of UAX #15: longer runs of combining marks occur in no script. What exceeds it is
# dropped, since CPython sorts marks in quadratic time.
MOST_MARKS = 30

_JOINS = "\0"  # in the character table: this one may merge with the character before it
_INVISIBLE_LETTERS = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u2065\u3164\uffa0")
_HAN = (range(0x2E80, 0x3000), range(0x3400, 0xA000), range(0xF900, 0xFB00), range(0x20000, 0x323B0))


@dataclass(frozen=True, slots=True)
class MappedText:
    """A text and where each of its characters came from, in code points.

    Character i of `text` came from `source[starts[i]:ends[i]]`; neither sequence ever decreases.
    """

    text: str
    starts: tuple[int, ...]
    ends: tuple[int, ...]
    source_length: int

    def span(self, start: int, end: int) -> tuple[int, int]:
        """Where `text[start:end]` came from, half-open; an empty span gives an empty span.

        Raises:
            IndexError: the span does not lie within the text.
        """
        if not 0 <= start <= end <= len(self.text):
            raise IndexError("span outside the text")
        if start < end:
            return self.starts[start], self.ends[end - 1]
        here = self.starts[start] if start < len(self.text) else self.ends[-1] if self.ends else 0
        return here, here

    def replaced(self, edits: Sequence[tuple[int, int, str]]) -> MappedText:
        """With each `(start, end, replacement)` made; all of a replacement points to what it replaced.

        The edits are non-empty ranges of `text`, ascending and apart.
        """
        pieces: list[str] = []
        starts: list[int] = []
        ends: list[int] = []
        done = 0
        for start, end, replacement in edits:
            pieces += self.text[done:start], replacement
            source_start, source_end = self.span(start, end)
            starts += self.starts[done:start]
            starts += [source_start] * len(replacement)
            ends += self.ends[done:start]
            ends += [source_end] * len(replacement)
            done = end
        pieces.append(self.text[done:])
        starts += self.starts[done:]
        ends += self.ends[done:]
        return MappedText("".join(pieces), tuple(starts), tuple(ends), self.source_length)


def canonicalise(text: str) -> MappedText:
    """The canonical form of any string, never an error; canonicalising the result's text changes nothing."""
    characters: list[str] = []
    starts: list[int] = []
    ends: list[int] = []
    for piece, start, end in _pieces(text):
        for character in piece:
            if character != " ":
                characters.append(character)
                starts.append(start)
                ends.append(end)
            elif characters and characters[-1] == " ":
                ends[-1] = end
            elif characters:
                characters.append(" ")
                starts.append(start)
                ends.append(end)
    if characters and characters[-1] == " ":
        del characters[-1], starts[-1], ends[-1]
    return MappedText(write_digits("".join(characters)), tuple(starts), tuple(ends), len(text))


def canonical_text(text: str) -> str:
    """`canonicalise(text).text` without the map, for corpora: above a million characters a second."""
    translated = text.translate(_CHARACTERS)
    if _JOINS in translated:
        return canonicalise(text).text
    return write_digits(" ".join(translated.split()))


def is_traditional(text: str) -> bool:
    """Whether more characters are written only in Traditional script than only in Simplified."""
    traditional, simplified = _script_marks()
    return sum(c in traditional for c in text) > sum(c in simplified for c in text)


def _pieces(text: str) -> Iterator[tuple[str, int, int]]:
    """Canonical pieces, each with the range of the source that made it.

    A piece is one character, or a character with the marks that may merge with it: only across such a
    group does NFKC look, so pieces can be normalised apart.
    """
    base, marks, start, end = "", "", 0, 0
    for index, character in enumerate(text):
        canonical = _CHARACTERS[ord(character)]
        if canonical == "":
            continue
        if canonical == _JOINS:
            if not base:
                base, start = character, index
            elif len(marks) < MOST_MARKS:
                marks += character
        else:
            if base:
                yield _merged(base, marks), start, end
            base, marks, start = character, "", index
        end = index + 1
    if base:
        yield _merged(base, marks), start, end


def _merged(base: str, marks: str) -> str:
    canonical = _CHARACTERS[ord(base)]
    if not marks and canonical != _JOINS:
        return canonical
    normal = unicodedata.normalize("NFKC", _admitted(base) + marks).translate(_simplifications())
    starter = len(normal)
    while starter and _CHARACTERS[ord(normal[starter - 1])] == _JOINS:
        starter -= 1
    return normal[: starter + MOST_MARKS]


def _admitted(character: str) -> str:
    """What step 1 makes of one character: nothing, a space, digits, or the character itself."""
    if character.isspace():
        return " "
    category = unicodedata.category(character)
    if category in {"Cc", "Cf", "Cs", "Me"} or character in _INVISIBLE_LETTERS:
        return ""
    if category == "Nd":
        return str(unicodedata.decimal(character))
    name = unicodedata.name(character, "")
    if category == "Mn" and "VARIATION SELECTOR" in name:
        return ""
    if category == "No" and unicodedata.decomposition(character).startswith("<circle>"):
        return f"({unicodedata.normalize('NFKC', character)})"
    return character


class _Characters(dict[int, str]):
    """Code point to canonical text of that character alone; filled as characters are met."""

    def __missing__(self, code: int) -> str:
        admitted = _admitted(chr(code))
        if admitted and _joins(unicodedata.normalize("NFKD", admitted)[0]):
            canonical = _JOINS
        else:
            canonical = unicodedata.normalize("NFKC", admitted).translate(_simplifications())
        self[code] = canonical
        return canonical


_CHARACTERS = _Characters()


def _joins(character: str) -> bool:
    return unicodedata.combining(character) != 0 or character in _second_halves()


@lru_cache(maxsize=1)
def _second_halves() -> frozenset[str]:
    """Characters that compose with one before them: Unicode's pairs, and the vowels and finals of Hangul."""
    pairs = (unicodedata.decomposition(chr(code)).split() for code in range(0x20000))
    composed = (chr(int(pair[1], 16)) for pair in pairs if len(pair) == 2 and not pair[0].startswith("<"))
    return frozenset([*composed, *map(chr, range(0x1161, 0x1176)), *map(chr, range(0x11A8, 0x11C3))])


@lru_cache(maxsize=1)
def _simplifications() -> dict[int, str]:
    """OpenCC's t2s for single characters, applied until nothing changes (薴 → 苧 → 苎).

    OpenCC's phrases (乾隆 stays, not 干隆) are left out: they look at neighbours, so a text converted twice
    or cut in two could differ, and the model reads both spellings the same way once it was trained so.
    """
    converter = opencc.OpenCC("t2s")
    han = [chr(code) for block in _HAN for code in block]
    once = dict(zip(han, converter.convert("\n".join(han)).split("\n"), strict=True))
    table = {}
    for character in han:
        simple = unicodedata.normalize("NFKC", character)
        while once.get(simple, simple) != simple:
            simple = once[simple]
        if simple != character:
            table[ord(character)] = simple
    return table


@lru_cache(maxsize=1)
def _script_marks() -> tuple[frozenset[str], frozenset[str]]:
    """Characters of Traditional script only, and of Simplified script only."""
    table = _simplifications()
    simple = sorted(set(table.values()))
    back = opencc.OpenCC("s2t").convert("\n".join(simple)).split("\n")
    simplified = frozenset(s for s, t in zip(simple, back, strict=True) if s != t)
    return frozenset(map(chr, table)), simplified
