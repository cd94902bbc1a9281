from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from data.records import Prediction, Reading
from data.taxonomy import Taxonomy
from models import bundle
from models.bundle import Bundle, read_bundle
from models.classifier import Classifier, NonFinite
from models.encoder_classifier import EncoderClassifier
from models.onnx_runtime import OnnxRuntime
from models.precedents import Nearest, read_precedents
from models.rules import Rules
from models.triage import Triage, open_triage
from tests.models import tiny_bundle

NOW = datetime(2026, 5, 1, tzinfo=UTC)


@pytest.fixture
def tiny(tmp_path: Path, taxonomy: Taxonomy) -> Bundle:
    publishers = tiny_bundle.publish(tmp_path, tiny_bundle.files(taxonomy))
    return read_bundle(tmp_path / "bundle", taxonomy, publishers)


Opened = Callable[..., Triage]


@pytest.fixture
def opened(tiny: Bundle, taxonomy: Taxonomy, rules: Rules) -> Iterator[Opened]:
    """A triage over any classifier, closed afterwards."""
    made: list[Triage] = []

    def make(classifier: Classifier | None = None, deadline_s: float | None = None) -> Triage:
        chosen = classifier or EncoderClassifier(tiny)
        precedents = read_precedents(tiny.precedents)
        made.append(Triage(chosen, tiny, None, taxonomy, rules, deadline_s=deadline_s, precedents=precedents))
        return made[-1]

    yield make
    for triage in made:
        triage.close()


@pytest.fixture(scope="module")
def served(shipped: Path) -> Iterator[Triage]:
    triage = open_triage(shipped)
    yield triage
    triage.close()


def test_an_order_goes_all_the_way(opened: Opened, tiny: Bundle, rules: Rules, taxonomy: Taxonomy) -> None:
    decision = opened().decide("法院", "法院裁定不算数", NOW)
    assert (decision.source, decision.verdict, decision.ground) == ("model", "unreasonable", "legal_route")
    assert decision.decided_at == NOW
    assert decision.thresholds == tiny.thresholds
    assert decision.versions.bundle == tiny.digest
    assert decision.versions.rules == rules.version
    assert decision.versions.taxonomy == taxonomy.version
    assert decision.versions.certificate == tiny.certificate_digest


class Stuck:
    """A real classifier behind a gate that a test opens."""

    def __init__(self, inner: Classifier) -> None:
        self.inner = inner
        self.gate = threading.Event()

    def classify(self, readings: Sequence[Reading]) -> list[Prediction]:
        self.gate.wait(20)
        return self.inner.classify(readings)


def test_past_the_deadline_the_rules_answer_and_the_model_comes_back(opened: Opened, tiny: Bundle) -> None:
    stuck = Stuck(EncoderClassifier(tiny))
    triage = opened(stuck, deadline_s=0.05)
    for _ in range(3):  # the third finds every worker stuck and is answered at once
        decision = triage.decide("", "法院裁定不算数", NOW)
        assert (decision.fallback, decision.disposition) == ("model_slow", "review")
    stuck.gate.set()
    for _ in range(100):
        if triage.decide("", "法院裁定不算数", NOW).fallback is None:
            break
    else:
        pytest.fail("the model never came back")


@pytest.mark.parametrize(
    ("error", "reason"), [(NonFinite("nan"), "model_nonfinite"), (RuntimeError("broken"), "model_error")]
)
def test_whatever_the_model_raises_the_rules_answer(opened: Opened, error: Exception, reason: str) -> None:
    class Broken:
        def classify(self, readings: Sequence[Reading]) -> list[Prediction]:
            raise error

    decision = opened(Broken()).decide("", "路灯坏了", NOW)
    assert (decision.source, decision.fallback, decision.degraded) == ("rules", reason, True)
    assert (decision.disposition, decision.review_reasons) == ("review", ("degraded",))


class Moody:
    """A real classifier that raises whatever it is told to."""

    def __init__(self, inner: Classifier) -> None:
        self.inner = inner
        self.error: Exception | None = None

    def classify(self, readings: Sequence[Reading]) -> list[Prediction]:
        if self.error is not None:
            raise self.error
        return self.inner.classify(readings)


@pytest.mark.parametrize(
    ("error", "reason"), [(NonFinite("nan"), "model_nonfinite"), (RuntimeError("broken"), "model_error")]
)
def test_a_model_that_fails_again_and_again_is_not_ready_until_it_answers(
    opened: Opened, tiny: Bundle, error: Exception, reason: str
) -> None:
    moody = Moody(EncoderClassifier(tiny))
    triage = opened(moody)
    for _ in range(2):  # one good answer in between, and the row begins anew
        moody.error = error
        for _ in range(4):
            assert triage.decide("", "路灯坏了", NOW).fallback == reason
        assert (triage.ready, triage.trouble) == (True, None)
        moody.error = None
        assert triage.decide("", "路灯坏了", NOW).source == "model"
    moody.error = error
    for _ in range(6):  # still asked, however often it has failed
        assert triage.decide("", "路灯坏了", NOW).fallback == reason
    assert (triage.ready, triage.trouble, triage.missing) == (False, reason, None)
    moody.error = None
    assert triage.decide("", "路灯坏了", NOW).source == "model"
    assert (triage.ready, triage.trouble) == (True, None)


def test_a_row_of_failures_is_counted_across_threads(opened: Opened, tiny: Bundle) -> None:
    moody = Moody(EncoderClassifier(tiny))
    moody.error = RuntimeError("broken")
    triage = opened(moody)
    with ThreadPoolExecutor(5) as pool:
        assert len(list(pool.map(lambda _: triage.decide("", "路灯坏了", NOW), range(5)))) == 5
    assert triage.trouble == "model_error"


def test_deadlines_are_no_failures_of_the_model(opened: Opened, tiny: Bundle) -> None:
    stuck = Stuck(EncoderClassifier(tiny))
    triage = opened(stuck, deadline_s=0.02)
    for _ in range(8):
        assert triage.decide("", "路灯坏了", NOW).fallback == "model_slow"
    assert triage.trouble == "model_slow"
    stuck.gate.set()
    for _ in range(500):
        if triage.ready:
            break
        time.sleep(0.01)
    assert triage.trouble is None, "lanes that came back are enough"


def test_a_decision_is_explained_by_the_model_that_made_it(opened: Opened) -> None:
    content = "路灯坏了，法院裁定不算数，请派人来修。"
    triage = opened()
    decision = triage.decide("", content, NOW)
    found = triage.explain("", content, decision)
    assert found is not None
    assert [content[span.start : span.end] for span in found.spans] == ["法院裁定不算数，"]
    newer = replace(decision, versions=replace(decision.versions, bundle="sha256:another"))
    assert triage.explain("", content, newer) is None
    by_rules = replace(decision, source="rules")
    assert triage.explain("", content, by_rules) is None


def test_an_explanation_that_fails_or_lasts_is_left_out(opened: Opened, tiny: Bundle) -> None:
    content = "路灯坏了，法院裁定不算数，请派人来修。"
    decision = opened().decide("", content, NOW)

    class Broken:
        def classify(self, readings: Sequence[Reading]) -> list[Prediction]:
            raise NonFinite

    assert opened(Broken()).explain("", content, decision) is None

    release = threading.Event()

    class Slow:
        def classify(self, readings: Sequence[Reading]) -> list[Prediction]:
            release.wait(10)
            return EncoderClassifier(tiny).classify(readings)

    try:
        assert opened(Slow(), 0.01).explain("", content, decision) is None
    finally:
        release.set()


def test_precedents_come_from_the_model_that_decided(opened: Opened) -> None:
    content = "法院裁定不算数，请派人来修。"
    triage = opened()
    decision = triage.decide("", content, NOW)
    nearest = triage.nearest("", content, decision)
    assert [each.id for each in (*nearest.reasonable, *nearest.unreasonable)] == ["t1", "t2"]
    newer = replace(decision, versions=replace(decision.versions, bundle="sha256:another"))
    for other in (newer, replace(decision, source="rules")):
        assert triage.nearest("", content, other) == Nearest()


def test_precedents_that_cannot_be_found_are_left_out(opened: Opened, tiny: Bundle) -> None:
    content = "法院裁定不算数，请派人来修。"

    class WithoutState(OnnxRuntime):
        def state(self, ids: Sequence[int], segments: Sequence[int]) -> NDArray[np.float32]:
            raise ValueError("a graph that gives none")

    triage = opened(EncoderClassifier(tiny, WithoutState(tiny.graph)))
    assert triage.nearest("", content, triage.decide("", content, NOW)) == Nearest()


def test_a_city_s_base_rate_moves_probabilities_and_thresholds_together(
    tiny: Bundle, taxonomy: Taxonomy, rules: Rules
) -> None:
    plain, rare = (
        Triage(EncoderClassifier(tiny), tiny, None, taxonomy, rules, base_rate=rate) for rate in (None, 0.003)
    )
    before, after = (triage.decide("法院", "法院裁定不算数", NOW) for triage in (plain, rare))
    plain.close()
    rare.close()
    assert before.p_unreasonable is not None
    assert after.p_unreasonable is not None
    assert after.p_unreasonable < before.p_unreasonable
    assert (before.recommended, after.recommended) == ("explain", "explain")
    assert before.thresholds.base_rate is None
    assert after.thresholds.base_rate == 0.003
    assert rare.thresholds == after.thresholds


def test_a_graph_that_computes_nan_is_caught(tmp_path: Path, opened: Opened, taxonomy: Taxonomy) -> None:
    publishers = tiny_bundle.publish(tmp_path / "nan", tiny_bundle.files(taxonomy, poison=math.nan))
    poisoned = EncoderClassifier(read_bundle(tmp_path / "nan" / "bundle", taxonomy, publishers))
    assert opened(poisoned).decide("", "路灯坏了", NOW).fallback == "model_nonfinite"


def test_without_a_bundle_the_rules_answer(tmp_path: Path) -> None:
    triage = open_triage(tmp_path, lanes=3)
    assert (triage.missing, triage.ready, triage.bundle) == ("model_missing", False, None)
    assert (triage.trouble, triage.lanes.count) == ("model_missing", 3)
    decision = triage.decide("", "我不想活了，现在就站在楼顶", NOW)
    assert decision.fallback == "model_missing"
    assert "self_harm" in decision.flags
    assert decision.disposition == "transfer"
    triage.close()


def test_a_corrupt_bundle_is_refused_and_the_rules_answer(tmp_path: Path, shipped: Path) -> None:
    for file in shipped.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    graph = tmp_path / bundle.GRAPH
    graph.write_bytes(graph.read_bytes()[:-1])
    triage = open_triage(tmp_path)
    assert (triage.missing, triage.ready) == ("model_corrupt", False)
    assert triage.decide("", "路灯坏了", NOW).fallback == "model_corrupt"
    triage.close()


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(title=st.text(max_size=60), content=st.text(st.characters(), max_size=300))
def test_every_text_gets_a_decision(served: Triage, title: str, content: str) -> None:
    decision = served.decide(title, content, NOW)
    assert decision.source == "model"
    assert decision.p_unreasonable is not None
    assert 0.0 <= decision.p_unreasonable <= 1.0
    for found in decision.rule_hits:
        sent = title if found.span.field == "title" else content
        assert 0 <= found.span.start <= found.span.end <= len(sent)


ORDER = "来电人称楼道消防门损坏无法关闭，物业一直不修，要求消防部门检查，联系电话13812345678"
VARIANTS = {
    "full-width": ORDER.translate({code: code + 0xFEE0 for code in range(0x21, 0x7F)}),
    "zero-width": "\u200b".join(ORDER),
    "traditional": "來電人稱樓道消防門損壞無法關閉，物業一直不修，要求消防部門檢查，聯繫電話13812345678",
    "variation selector": ORDER.replace("门", "门\ufe00"),
}


@pytest.mark.parametrize("variant", VARIANTS)
def test_reversible_variants_get_the_identical_answer(served: Triage, variant: str) -> None:
    plain, varied = served.decide("", ORDER, NOW), served.decide("", VARIANTS[variant], NOW)
    assert varied.prediction == plain.prediction
    assert (varied.flags, varied.disposition) == (plain.flags, plain.disposition)


def test_traditional_script_is_recorded(served: Triage) -> None:
    assert served.decide("", VARIANTS["traditional"], NOW).traditional
    assert not served.decide("", ORDER, NOW).traditional
