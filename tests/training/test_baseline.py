"""The baseline learns from the committed labels, the same thing every time, and from nothing else."""

from __future__ import annotations

import random
from dataclasses import replace

import numpy as np
import pytest

from data.corpus.labels import read_folder
from data.corpus.snapshot import Snapshot, Split, freeze, read_snapshot
from data.errors import BadInput
from data.taxonomy import Taxonomy, load_taxonomy
from tests.data.corpus.invented import order
from training.baseline import Baseline, fit, text_of


@pytest.fixture(scope="module")
def taxonomy() -> Taxonomy:
    return load_taxonomy()


@pytest.fixture(scope="module")
def snapshot(tmp_path_factory: pytest.TempPathFactory, taxonomy: Taxonomy) -> Snapshot:
    """One region to learn from: what is tested here is the path, and every code occurs in it."""
    out = tmp_path_factory.mktemp("snapshot")
    freeze(read_folder(taxonomy), Split(train=("w1",), calibration=("w3",), test=("w4",)), out, taxonomy)
    return read_snapshot(out, taxonomy)


@pytest.fixture(scope="module")
def baseline(snapshot: Snapshot, taxonomy: Taxonomy) -> Baseline:
    return fit(snapshot, taxonomy)


def test_it_beats_chance_on_a_region_it_never_saw(baseline: Baseline, snapshot: Snapshot) -> None:
    got = baseline.metrics(snapshot.test)
    assert got.orders == 618
    assert got.verdict_auc is not None
    assert got.verdict_auc > 0.75
    assert got.ground_macro_f1 is not None
    assert got.ground_macro_f1 > 0.6
    assert got.subject_macro_f1 > 0.2
    assert got.pairs_ordered is not None
    assert got.pairs_ordered > 0.8


def test_it_learns_from_the_labels_alone(snapshot: Snapshot, taxonomy: Taxonomy) -> None:
    """With the verdicts dealt out anew it orders an unseen region no better than a coin."""
    verdicts = [each.verdict for each in snapshot.train]
    random.Random(3).shuffle(verdicts)
    dealt = tuple(
        replace(each, verdict=verdict) for each, verdict in zip(snapshot.train, verdicts, strict=True)
    )
    got = fit(replace(snapshot, train=dealt), taxonomy).metrics(snapshot.test)
    assert got.verdict_auc is not None
    assert abs(got.verdict_auc - 0.5) < 0.12


def test_it_is_calibrated_where_it_was_calibrated(baseline: Baseline, snapshot: Snapshot) -> None:
    """Platt's two parameters make the mean probability the share of unreasonable orders."""
    said = baseline.p_unreasonable(snapshot.calibration)
    share = np.mean([each.unreasonable for each in snapshot.calibration])
    assert said.min() >= 0.0
    assert said.max() <= 1.0
    assert said.mean() == pytest.approx(share, abs=0.01)


def test_an_order_is_judged_on_its_own(baseline: Baseline, snapshot: Snapshot) -> None:
    together = baseline.p_unreasonable(snapshot.test[:20])
    alone = [float(baseline.p_unreasonable([each])[0]) for each in snapshot.test[:20]]
    assert together == pytest.approx(alone, abs=1e-9)


def test_the_same_snapshot_gives_the_same_figures(snapshot: Snapshot, taxonomy: Taxonomy) -> None:
    small = replace(snapshot, train=tuple(each for each in read_folder(taxonomy) if each.region == "w8"))
    assert fit(small, taxonomy).metrics(snapshot.test) == fit(small, taxonomy).metrics(snapshot.test)


def test_it_reads_what_the_service_reads() -> None:
    """Traditional script and full width make no difference, and a telephone number is not read."""
    plain = text_of(order("a", title="停水", content="电话13800000000，请问什么时候来水？"))
    other = text_of(order("a", title="停水", content="電話１３８００００００００，請問什麼時候來水？"))
    assert plain == other
    assert "138" not in plain


def test_refuses_to_learn_what_never_occurs(snapshot: Snapshot, taxonomy: Taxonomy) -> None:
    without = tuple(each for each in snapshot.train if each.subject != "technology")
    with pytest.raises(BadInput) as caught:
        fit(replace(snapshot, train=without), taxonomy)
    assert caught.value.code == "train_incomplete"


def test_refuses_to_calibrate_on_one_verdict(snapshot: Snapshot, taxonomy: Taxonomy) -> None:
    reasonable = tuple(each for each in snapshot.calibration if not each.unreasonable)
    with pytest.raises(BadInput) as caught:
        fit(replace(snapshot, calibration=reasonable), taxonomy)
    assert caught.value.code == "calibration_impossible"
