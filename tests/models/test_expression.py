"""A shortlist leaves out only what cannot match, so that with it every text has the hits it has without."""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data.corpus.labels import LABELS, read_folder, read_labels
from data.masking import MaskedText, read_text
from data.taxonomy import load_taxonomy
from models.expression import Beside, Expression, Shortlist
from models.rules import Rules

TAXONOMY = load_taxonomy()
SHIPPED = Rules.load(TAXONOMY)
EXAMPLES = [text for rule in SHIPPED.rules for text in (*rule.examples, *rule.counter_examples)]

Found = tuple[str, str, int, int]


def expression(
    *alternatives: str, idioms: tuple[str, ...] = (), none: tuple[str, ...] = (), beside: Beside = "sentence"
) -> Expression:
    return Expression(alternatives, all_of=(), none=none, idioms=idioms, beside=beside)


def by_every_rule(text: MaskedText) -> Iterator[Found]:
    """Each rule tried on each of its fields: what the hits would be without a shortlist."""
    for rule in SHIPPED.rules:
        for field in rule.fields:
            mapped = text.title if field == "title" else text.content
            found = rule.expression.first(mapped.text)
            if found is not None:
                yield rule.id, field, *mapped.span(*found)


def assert_nothing_is_missed(title: str, content: str) -> None:
    text = read_text(title, content)
    hits = [(hit.rule, hit.span.field, hit.span.start, hit.span.end) for hit in SHIPPED.hits(text)]
    assert hits == list(by_every_rule(text)), (title, content)


@pytest.mark.parametrize("rule", SHIPPED.rules, ids=lambda rule: rule.id)
def test_nothing_is_missed_in_a_rule_s_own_examples(rule) -> None:
    for text in (*rule.examples, *rule.counter_examples):
        assert_nothing_is_missed("", text)
        assert_nothing_is_missed(text, "")
        assert_nothing_is_missed(text.replace("。", "\n"), text + text)


def test_nothing_is_missed_in_labelled_orders() -> None:
    orders = read_folder(TAXONOMY)
    for order in random.Random(7).sample(orders, 300):
        assert_nothing_is_missed(order.title, order.content)


def wide(text: str) -> str:
    """Printable ASCII in its full-width form."""
    return "".join(chr(ord(c) + 0xFEE0) if "!" <= c <= "~" else c for c in text)


@st.composite
def pieces(draw: st.DrawFn) -> str:
    text = draw(st.sampled_from(EXAMPLES))
    start = draw(st.integers(0, len(text)))
    piece = text[start : draw(st.integers(start, len(text)))]
    return draw(st.sampled_from([piece, piece, wide(piece), piece.upper(), piece[::-1]]))


junk = st.one_of(
    st.sampled_from(["\n", "。", "!", "?", ";", ",", " ", "\0", "\u200b", "？"]), st.text(max_size=5)
)
texts = st.lists(pieces() | junk, max_size=12).map("".join)


@given(title=texts, content=texts)
@settings(max_examples=300, deadline=None)
def test_nothing_is_missed_in_texts_made_of_examples_and_junk(title: str, content: str) -> None:
    assert_nothing_is_missed(title, content)


def test_most_rules_are_not_even_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    tried = []
    first = Expression.first
    monkeypatch.setattr(Expression, "first", lambda self, text: tried.append(text) or first(self, text))
    SHIPPED.hits(read_text("咨询公积金提取", "来电人咨询公积金提取需要哪些材料，请回复。"))
    assert len(tried) < len(SHIPPED.rules) / 4
    tried.clear()
    orders = read_labels(LABELS / "w1.jsonl", TAXONOMY)[:100]
    for order in orders:
        SHIPPED.hits(read_text(order.title, order.content))
    assert len(tried) < len(orders) * len(SHIPPED.rules) / 4


@pytest.mark.parametrize(
    ("listed", "text"),
    [
        (expression("冒烟.{0,9}快来"), "冒烟,你们快来"),
        (expression("冒烟\n快来"), "冒烟。快来"),  # a sentence's end is a line break to the pattern
        (expression("冒烟。快来", beside="field"), "冒烟。快来"),
        (expression("冒.快", idioms=("烟",)), "冒烟快"),  # matches across the idiom's blank
        (expression("(?i)sos"), "SOS"),
        (expression("^快$"), "好。快。好"),
        (expression(r"\A[0-9 ]+\z"), "12 3"),  # needs no word
        (expression("冒烟", none=("去年",)), "去年冒烟"),  # vetoed only when it is tried
    ],
)
def test_what_can_match_is_listed(listed: Expression, text: str) -> None:
    others = [expression(f"别的{number}") for number in range(20)]
    assert Shortlist([*others, listed]).of(text) == {20}
    assert Shortlist([listed, *others]).of(text) == {0}


def test_what_lacks_a_word_is_not_listed() -> None:
    shortlist = Shortlist([expression("冒烟.{0,9}快来"), expression("起火|失火")])
    assert shortlist.of("冒烟了") == set()
    assert shortlist.of("快来") == set()
    assert shortlist.of("失火了") == {1}


@pytest.mark.parametrize("count", [0, 1, 7, 8, 9, 17, 40])
def test_every_expression_has_its_own_place(count: int) -> None:
    shortlist = Shortlist([expression(f"第{number}号") for number in range(count)])
    assert shortlist.of("".join(f"第{number}号" for number in range(count))) == set(range(count))
    assert all(shortlist.of(f"第{number}号") == {number} for number in range(count))


def test_everything_is_tried_where_the_search_fails() -> None:
    class Failing:
        def Match(self, text: bytes, potential: bool) -> None:
            """RE2 answers a search that ran out of memory like one that found nothing."""

    shortlist = Shortlist([expression(f"第{number}号") for number in range(9)])
    shortlist._filters[0] = Failing()
    assert shortlist.of("") == {0, 2, 4, 6, 8}
