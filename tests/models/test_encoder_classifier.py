from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from data.masking import read_text
from data.records import Reading
from data.taxonomy import Taxonomy
from models.bundle import read_bundle
from models.char_ngrams import CharNgrams
from models.classifier import NonFinite
from models.encoder_classifier import EncoderClassifier
from tests.models import tiny_bundle


def classifier(folder: Path, taxonomy: Taxonomy, *, poison: float = 0.0) -> EncoderClassifier:
    publishers = tiny_bundle.publish(folder, tiny_bundle.files(taxonomy, poison=poison))
    return EncoderClassifier(read_bundle(folder / "bundle", taxonomy, publishers))


def test_each_group_is_a_distribution_over_its_codes(tmp_path: Path, taxonomy: Taxonomy) -> None:
    (prediction,) = classifier(tmp_path, taxonomy).classify([Reading("路灯", "路灯坏了")])
    for group in ("verdict", "kind", "subject"):
        probabilities = getattr(prediction, group)
        assert tuple(probabilities) == taxonomy.groups[group]
        assert math.isclose(sum(probabilities.values()), 1.0, rel_tol=1e-12)
        assert len(prediction.logits[group]) == len(taxonomy.groups[group])
    assert prediction.p_unreasonable < 0.9 < 1.0
    assert tuple(prediction.flags) == taxonomy.flag_codes
    assert len(prediction.logits["flags"]) == len(taxonomy.flags)


def test_the_graph_s_scores_decide(tmp_path: Path, taxonomy: Taxonomy) -> None:
    model = classifier(tmp_path, taxonomy)
    calm, marked = model.classify([Reading("路灯", "路灯坏了"), Reading("法院", "法院裁定不算数")])
    assert marked.p_unreasonable > 0.9 > calm.p_unreasonable
    assert marked.likeliest_ground == "legal_route"


def test_a_flag_has_a_probability_of_its_own(tmp_path: Path, taxonomy: Taxonomy) -> None:
    model = classifier(tmp_path, taxonomy)
    calm, alarmed = model.classify([Reading("路灯", "路灯坏了"), Reading("路灯", "着火了")])
    assert alarmed.flags["emergency"] > 0.9 > 0.1 > calm.flags["emergency"]
    assert max(p for code, p in alarmed.flags.items() if code != "emergency") < 0.5


def test_the_n_grams_are_added_as_much_as_they_count(tmp_path: Path, taxonomy: Taxonomy) -> None:
    publishers = tiny_bundle.publish(tmp_path, tiny_bundle.files(taxonomy))
    alone = read_bundle(tmp_path / "bundle", taxonomy, publishers)
    width = sum(map(len, taxonomy.groups.values())) + len(taxonomy.flags)
    weights = np.zeros((1, width), dtype=np.int8)
    weights[0, taxonomy.verdicts.index("legal_route")] = 100
    weights[0, -1] = 100
    ngrams = CharNgrams(
        np.array([ord("判")], dtype=np.uint64),
        np.ones(1, dtype=np.float32),
        weights,
        np.full(width, 0.1, dtype=np.float32),
        np.zeros(width, dtype=np.float32),
    )
    both = replace(alone, ngrams=ngrams.content(), ngram_weights={"verdict": 0.5, "kind": 1.0})
    calm, marked = Reading("", "路灯坏了"), Reading("", "判路灯坏了")
    first, second = EncoderClassifier(alone), EncoderClassifier(both)
    assert second.classify([calm]) == first.classify([calm])
    (before,), (after,) = first.classify([marked]), second.classify([marked])
    place = taxonomy.verdicts.index("legal_route")
    assert after.logits["verdict"][place] == pytest.approx(before.logits["verdict"][place] + 5.0, rel=1e-6)
    assert after.p_unreasonable > 0.9 > before.p_unreasonable
    assert (after.kind, after.flags) == (before.kind, before.flags), "a group without a weight stays as it is"
    # Of a long text the encoder reads the beginning, the n-grams all.
    end = Reading("", "灯" * 90 + "判")
    assert second.classify([end])[0].p_unreasonable > 0.9 > first.classify([end])[0].p_unreasonable
    with pytest.raises(ValueError, match="shapes"):
        EncoderClassifier(replace(both, thresholds=replace(both.thresholds, flags={})))


def test_a_text_longer_than_the_encoder_reads_says_so(tmp_path: Path, taxonomy: Taxonomy) -> None:
    model = classifier(tmp_path, taxonomy)
    fits, cut = model.classify([Reading("", "灯" * 29), Reading("", "灯" * 30)])  # [CLS] title [SEP] … [SEP]
    assert not fits.truncated
    assert cut.truncated


def test_a_danger_behind_what_the_encoder_reads_is_found_and_decides_nothing_else(
    tmp_path: Path, taxonomy: Taxonomy
) -> None:
    model = classifier(tmp_path, taxonomy)
    calm, alarmed, adverse = model.classify(
        [Reading("路灯", "灯" * 30 + end) for end in ("路灯坏了坏了", "火火火着火了", "法院裁裁裁裁")]
    )
    assert calm.truncated
    assert alarmed.truncated
    assert alarmed.flags["emergency"] > 0.9 > 0.1 > calm.flags["emergency"]
    assert alarmed.verdict == calm.verdict == adverse.verdict
    assert alarmed.logits["verdict"] == calm.logits["verdict"]


def test_a_text_of_any_length_takes_a_bounded_time(tmp_path: Path, taxonomy: Taxonomy) -> None:
    model = classifier(tmp_path, taxonomy)
    runs = 0
    inner = model.runtime.scores

    def counted(ids: Sequence[int], segments: Sequence[int]) -> NDArray[np.float32]:
        nonlocal runs
        runs += 1
        return inner(ids, segments)

    model.runtime.scores = counted  # type: ignore[method-assign]
    model.classify([Reading("", "灯" * 20_000)])
    assert runs == 4


def test_scores_that_are_not_finite_raise(tmp_path: Path, taxonomy: Taxonomy) -> None:
    with pytest.raises(NonFinite):
        classifier(tmp_path, taxonomy, poison=math.nan).classify([Reading("", "路灯")])


def test_an_order_s_answer_does_not_depend_on_its_neighbours(shipped: Path, taxonomy: Taxonomy) -> None:
    model = EncoderClassifier(read_bundle(shipped, taxonomy))
    readings = [
        read_text("反映路灯", "来电人反映幸福路路灯坏了三天，请派人维修。").reading,
        read_text("", "要求单位涨工资，工资已经高于最低工资标准。").reading,
        read_text("求助", "孩" * 400).reading,
    ]
    together = model.classify(readings)
    alone = [model.classify([reading])[0] for reading in readings]
    assert together == alone
    assert model.classify(readings[::-1]) == together[::-1]
