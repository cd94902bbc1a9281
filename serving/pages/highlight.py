"""Cuts an order's text where rules fired, so that a template can mark it; both desks' pages use it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise

from data.records import Field, RuleHit, Span


@dataclass(frozen=True, slots=True)
class Segment:
    """A stretch of text under the same rules or none; `carries` says that the verdict rests on it."""

    text: str
    hits: tuple[RuleHit, ...]
    carries: bool = False

    @property
    def explanation(self) -> str:
        return "；".join(hit.explanation for hit in self.hits)


def segments(
    text: str, field: Field, hits: Iterable[RuleHit], carrying: Iterable[Span] = ()
) -> list[Segment]:
    """The text in order and whole: joined, the segments are the text again, whatever the spans."""
    own = [hit for hit in hits if hit.span.field == field]
    clauses = [span for span in carrying if span.field == field]
    edges = {0, len(text)}
    for span in (*(hit.span for hit in own), *clauses):
        edges |= {min(max(edge, 0), len(text)) for edge in (span.start, span.end)}
    cuts = sorted(edges)
    return [
        Segment(
            text[start:end],
            tuple(hit for hit in own if hit.span.start < end and hit.span.end > start),
            any(span.start < end and span.end > start for span in clauses),
        )
        for start, end in pairwise(cuts)
    ]
