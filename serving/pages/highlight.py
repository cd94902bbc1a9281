"""Cuts an order's text where rules fired, so that a template can mark it; both desks' pages use it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise

from data.records import Field, RuleHit


@dataclass(frozen=True, slots=True)
class Segment:
    """A stretch of text under the same rules; none where nothing fired."""

    text: str
    hits: tuple[RuleHit, ...]

    @property
    def explanation(self) -> str:
        return "；".join(hit.explanation for hit in self.hits)


def segments(text: str, field: Field, hits: Iterable[RuleHit]) -> list[Segment]:
    """The text in order and whole: joined, the segments are the text again, whatever the spans."""
    own = [hit for hit in hits if hit.span.field == field]
    edges = {0, len(text)}
    for hit in own:
        edges |= {min(max(edge, 0), len(text)) for edge in (hit.span.start, hit.span.end)}
    cuts = sorted(edges)
    return [
        Segment(text[start:end], tuple(hit for hit in own if hit.span.start < end and hit.span.end > start))
        for start, end in pairwise(cuts)
    ]
