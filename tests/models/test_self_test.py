from __future__ import annotations

import itertools
import math
import signal
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from io import BytesIO, TextIOWrapper
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from data.records import Thresholds
from data.taxonomy import Taxonomy
from models import self_test
from models.bundle import Bundle, read_bundle
from models.classifier import NonFinite
from models.encoder_classifier import EncoderClassifier
from models.onnx_runtime import OnnxRuntime
from models.self_test import examine, packed, readings
from tests.models import tiny_bundle

Scores = NDArray[np.float32]


@pytest.fixture
def tiny(tmp_path: Path, taxonomy: Taxonomy) -> Bundle:
    publishers = tiny_bundle.publish(tmp_path, tiny_bundle.files(taxonomy))
    return read_bundle(tmp_path / "bundle", taxonomy, publishers)


class Changed:
    """ONNX Runtime, whose scores something is done to."""

    name = "changed"

    def __init__(self, bundle: Bundle, change: Callable[[Scores], object] = lambda scores: None) -> None:
        self.inner = OnnxRuntime(bundle.graph)
        self.change = change
        self.calls = 0

    def scores(self, ids: Sequence[int], segments: Sequence[int]) -> Scores:
        self.calls += 1
        scores = self.inner.scores(ids, segments)
        self.change(scores)
        return scores


def test_the_texts_are_of_all_lengths(shipped: Path, taxonomy: Taxonomy) -> None:
    texts = readings()
    lengths = sorted(len(text.content) for text in texts)
    assert len(set(texts)) == 40
    assert lengths[0] < 20
    assert lengths[-1] > 350
    cut = [text.truncated for text in EncoderClassifier(read_bundle(shipped, taxonomy)).classify(texts)]
    assert 0 < sum(cut) < 5


def test_the_texts_hold_decisions_of_every_sort(shipped: Path, taxonomy: Taxonomy) -> None:
    bundle = read_bundle(shipped, taxonomy)
    settled = [
        self_test._settled(found, bundle.thresholds)
        for found in EncoderClassifier(bundle).classify(readings())
    ]
    unreasonable, _, declined, dispatched, *flags = zip(*settled, strict=True)
    for sides in (unreasonable, declined, dispatched):
        assert set(sides) == {True, False}
    assert sum(any(raised) for raised in flags) > 3


def test_what_scores_alike_is_chosen_by_its_speed(tiny: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    def chosen(plain_s: float, fast_s: float) -> self_test.Verdict:
        taken = itertools.cycle((plain_s, fast_s))
        monkeypatch.setattr(self_test, "_seconds", lambda *_: next(taken))
        return examine(tiny, Changed(tiny), Changed(tiny), 2)

    assert chosen(1.2, 1.0) == self_test.Verdict(True, "1.20 times as fast as changed on 2 lanes")
    assert chosen(1.0, 2.0) == self_test.Verdict(False, "0.50 times as fast as changed on 2 lanes")
    assert not chosen(1.09, 1.0).fast, "not worth it"


def test_every_lane_has_texts_to_be_measured_by(tiny: Bundle) -> None:
    plain, fast = Changed(tiny), Changed(tiny)
    examine(tiny, plain, fast, lanes=16)
    assert fast.calls >= 40 + 40 + 3 * 64
    assert plain.calls >= 40 + 3 * 64


def test_a_probability_that_differs_ends_it_at_once(tiny: Bundle) -> None:
    def moved(scores: Scores) -> None:
        scores[-1] += 6.0  # the last flag alone

    fast = Changed(tiny, moved)
    verdict = examine(tiny, Changed(tiny), fast, 2)
    assert not verdict.fast
    assert "a probability differs by" in verdict.reason
    assert fast.calls == 1


def test_rounding_does_not_matter_until_it_crosses_a_threshold(
    tiny: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(self_test, "_seconds", lambda *_: 1.0)

    def nudged(scores: Scores) -> None:
        scores[0] -= 1e-3

    assert "times as fast" in examine(tiny, Changed(tiny), Changed(tiny, nudged), 1).reason
    (plain,) = EncoderClassifier(tiny).classify(readings()[:1])
    (other,) = EncoderClassifier(tiny, Changed(tiny, nudged)).classify(readings()[:1])
    between = (plain.p_unreasonable + other.p_unreasonable) / 2
    for thresholds in (
        Thresholds(between, None, tiny.thresholds.flags),
        Thresholds(None, between, tiny.thresholds.flags),
    ):
        tight = replace(tiny, thresholds=thresholds)
        verdict = examine(tight, Changed(tiny), Changed(tiny, nudged), 1)
        assert verdict == self_test.Verdict(False, "an order would be decided otherwise")


def test_scores_that_waver_are_refused(tiny: Bundle) -> None:
    count = itertools.count()

    def wavers(scores: Scores) -> None:
        scores[0] += 1e-5 * next(count)

    verdict = examine(tiny, Changed(tiny), Changed(tiny, wavers), 2)
    assert verdict == self_test.Verdict(False, "the same text does not always get the same scores")


def test_what_is_not_a_number_raises(tiny: Bundle) -> None:
    with pytest.raises(NonFinite):
        examine(tiny, Changed(tiny), Changed(tiny, lambda scores: scores.fill(math.nan)), 2)


def test_a_bundle_arrives_as_it_was_sent(tiny: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    arrived: list[object] = []

    def taken(bundle: Bundle, *others: object) -> self_test.Verdict:
        arrived.extend((bundle, others[-1]))
        return self_test.Verdict(False, "")

    monkeypatch.setattr(self_test, "examine", taken)
    monkeypatch.setattr(self_test, "_openvino", lambda bundle, lanes: OnnxRuntime(bundle.graph))
    monkeypatch.setattr(signal, "alarm", lambda seconds: 0)
    monkeypatch.setattr(sys, "stdin", TextIOWrapper(BytesIO(packed(tiny, 3))))
    assert self_test.main() == 0
    assert arrived == [replace(tiny, precedents=b""), 3]
