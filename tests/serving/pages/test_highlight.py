from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from data.records import Field, RuleHit, Span
from serving.pages.highlight import segments

fields: st.SearchStrategy[Field] = st.sampled_from(["title", "content"])
spans = st.builds(
    lambda field, ends: Span(field, min(ends), max(ends)),
    fields,
    st.tuples(st.integers(0, 40), st.integers(0, 40)),
)
hits = spans.map(lambda span: RuleHit("r", "protect", span, "说明"))


@given(text=st.text(max_size=30), found=st.lists(hits, max_size=6), clauses=st.lists(spans, max_size=3))
def test_nothing_is_lost_and_each_character_is_marked_exactly_where_something_is_said_of_it(
    text: str, found: list[RuleHit], clauses: list[Span]
) -> None:
    pieces = segments(text, "content", found, clauses)
    assert "".join(piece.text for piece in pieces) == text
    at = 0
    for piece in pieces:
        for _ in piece.text:
            over = {
                i
                for i, h in enumerate(found)
                if h.span.field == "content" and h.span.start <= at < h.span.end
            }
            assert len(piece.hits) == len(over)
            assert piece.carries == any(
                span.field == "content" and span.start <= at < span.end for span in clauses
            )
            at += 1
