"""Finds texts that say nearly the same thing in nearly the same words; `snapshot` calls it."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from data.canonical import canonical_text

SHINGLE = 5


@dataclass(frozen=True, slots=True)
class Likeness:
    """Two texts by their places, `first` < `second`, and the Jaccard similarity of their shingles."""

    first: int
    second: int
    similarity: float


def shingles(text: str) -> frozenset[str]:
    """The runs of `SHINGLE` letters and digits in the canonical text; a shorter text is one shingle."""
    letters = "".join(character for character in canonical_text(text).casefold() if character.isalnum())
    return frozenset(letters[i : i + SHINGLE] for i in range(max(1, len(letters) - SHINGLE + 1)))


def likenesses(texts: Sequence[str], parts: Sequence[str], threshold: float) -> Iterator[Likeness]:
    """Every pair of texts from two different parts that is at least `threshold` alike, in order of place.

    Exact, not estimated: an inverted index counts the shared shingles of each pair that shares any
    (Broder, "On the resemblance and containment of documents", 1997, without the sampling). Meant
    for tens of thousands of short texts.
    """
    sets = [shingles(text) for text in texts]
    holders: defaultdict[str, list[int]] = defaultdict(list)
    for second, own in enumerate(sets):
        shared: Counter[int] = Counter()
        for shingle in own:
            shared.update(holders[shingle])
            holders[shingle].append(second)
        for first, common in sorted(shared.items()):
            similarity = common / (len(sets[first]) + len(own) - common)
            if similarity >= threshold and parts[first] != parts[second]:
                yield Likeness(first, second, similarity)
