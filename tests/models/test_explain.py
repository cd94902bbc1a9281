from __future__ import annotations

import math
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from data.masking import read_text
from data.records import Prediction, Reading
from models.explain import explain


class Weighing:
    """A classifier whose log-odds are the sum of what each word weighs."""

    def __init__(self, weights: dict[str, float], bias: float = 0.0) -> None:
        self.weights = weights
        self.bias = bias

    def classify(self, readings: Sequence[Reading]) -> list[Prediction]:
        return [self._one(reading.title + reading.content) for reading in readings]

    def _one(self, text: str) -> Prediction:
        odds = self.bias + sum(weight * text.count(word) for word, weight in self.weights.items())
        p = 1 / (1 + math.exp(-odds))
        return Prediction({"reasonable": 1 - p, "legal_route": p}, {}, {}, {}, truncated=False)


ORDER = "张三的官司判了，他不服。路灯也坏了，请你们改判，谢谢。"


def test_the_clauses_that_carry_the_verdict_are_shown_as_sent() -> None:
    sent = ORDER.replace("请你们", "请　你们")  # canonical text drops what was sent here
    found = explain(
        read_text("反映问题", sent), Weighing({"改判": 4.0, "官司": 2.0}, bias=-1.0), "unreasonable"
    )
    assert found is not None
    assert [sent[span.start : span.end] for span in found.spans] == ["张三的官司判了，", "请　你们改判，"]
    assert found.carried == pytest.approx(6.0)
    assert found.others == pytest.approx(0.0)


def test_a_reasonable_verdict_is_explained_by_what_speaks_for_it() -> None:
    found = explain(read_text("", ORDER), Weighing({"路灯": -5.0}, bias=1.0), "reasonable")
    assert found is not None
    (span,) = found.spans
    assert ORDER[span.start : span.end] == "路灯也坏了，"


@pytest.mark.parametrize(
    ("text", "weights", "bias"),
    [
        ("请你们改判。", {"改判": 4.0}, 0.0),  # a single clause: nothing to compare with
        (ORDER, {}, 3.0),  # the verdict rests on nothing in the text
        (ORDER, {"改判": 0.5}, 0.0),  # too little is carried
        (ORDER, {",": 1.0, "。": 1.0}, -1.0),  # every clause carries the same
    ],
)
def test_nothing_is_shown_that_leaving_out_does_not_prove(
    text: str, weights: dict[str, float], bias: float
) -> None:
    assert explain(read_text("", text), Weighing(weights, bias), "unreasonable") is None


def test_the_same_order_is_explained_the_same_way() -> None:
    model = Weighing({"改判": 4.0, "官司": 2.0, "谢": 0.3}, bias=-1.0)
    once, again = (explain(read_text("", ORDER), model, "unreasonable") for _ in range(2))
    assert once is not None
    assert once == again


@given(st.text("路灯改判，。！ \n\u200b①", max_size=60), st.text("路灯，。", max_size=10))
def test_any_text_is_explained_or_not_without_failing(content: str, title: str) -> None:
    found = explain(read_text(title, content), Weighing({"改": 3.0}), "unreasonable")
    for span in found.spans if found else ():
        sent = title if span.field == "title" else content
        assert 0 <= span.start < span.end <= len(sent)
